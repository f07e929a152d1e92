//! gRPC: a request becomes domain values, a use case runs, its result goes on the wire. One file per service.

mod convert;
mod error;
mod money_audit;
mod parse;

pub(crate) use self::money_audit::MoneyAuditRpc;
