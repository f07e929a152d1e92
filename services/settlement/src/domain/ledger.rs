//! The double-entry ledger: accounts, transfers, and how what happened is posted.

pub(crate) mod account;
pub(crate) mod posting;
pub(crate) mod rules;
pub(crate) mod transfer;
