//! What must hold across services.

mod ledger;
mod notifications;
mod once;
mod refunds;
mod unknown;
