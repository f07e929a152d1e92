//! gRPC: a request becomes domain values, a use case runs, its result goes on the wire.

mod convert;
mod error;
mod parse;
mod refund;
mod refund_policy;

pub(crate) use refund::RefundRpc;
pub(crate) use refund_policy::RefundPolicyRpc;
