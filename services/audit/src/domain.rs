//! What an audit is about; no I/O.

pub(crate) mod money_audit;
pub(crate) mod statement;
