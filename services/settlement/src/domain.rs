//! What exists and how it moves: no I/O here.

pub(crate) mod account;
pub(crate) mod batch;
pub(crate) mod channel;
pub(crate) mod fees;
pub(crate) mod posting;
pub(crate) mod reconciliation;
pub(crate) mod transfer;
