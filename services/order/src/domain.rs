//! What exists and how it changes: no I/O here.

pub(crate) mod backoff;
pub(crate) mod code;
pub(crate) mod details;
pub(crate) mod order;
pub(crate) mod order_balance;
pub(crate) mod price;
pub(crate) mod promotion;
pub(crate) mod unapplied_payment;
pub(crate) mod voucher;
