//! What must hold across services.

mod late;
mod ledger;
mod mtls;
mod notifications;
mod once;
mod refunds;
mod tenancy;
mod unknown;
