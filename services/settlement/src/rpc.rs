//! gRPC: a request becomes domain values, a use case runs, its result goes on the wire. One file per service.

mod convert;
mod error;
mod fee_schedule;
mod ledger;
mod parse;
mod reconciliation;
mod settlement_batch;

pub(crate) use self::fee_schedule::FeeScheduleRpc;
pub(crate) use self::ledger::LedgerRpc;
pub(crate) use self::reconciliation::ReconciliationRpc;
pub(crate) use self::settlement_batch::SettlementBatchRpc;
