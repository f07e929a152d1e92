//! The settlement service owns the double-entry ledger, fees, settlement batches and reconciliation.
//!
//! It promises that every transfer's debits equal its credits, that what was posted is never changed, that each
//! payment and refund of the payment service's log is posted once, whatever is delivered twice, and that a batch's
//! statement adds up to the batch. It never changes a payment.

mod app;
mod authorization;
mod clients;
mod config;
mod consumers;
pub mod crash_points;
mod domain;
mod events;
mod facts;
mod rpc;
mod store;
mod usecase;

pub use app::App;
pub use authorization::RPC_ACCESS;
pub use config::Config;
