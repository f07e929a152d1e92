//! The ledger's rows.

pub(crate) mod accounts;
pub(crate) mod check;
pub(crate) mod rules;
pub(crate) mod transfers;
