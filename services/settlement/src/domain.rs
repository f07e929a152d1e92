//! What exists and how it moves: no I/O here.

pub(crate) mod channel;
pub(crate) mod fee_schedule;
pub(crate) mod ledger;
pub(crate) mod reconciliation;
pub(crate) mod settlement_batch;
