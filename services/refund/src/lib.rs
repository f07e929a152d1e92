//! The refund service: refund requests, the policy that decides them, and their progress.
//!
//! It promises:
//!
//! - The refunds of an order never take more than its total, those of a line never more units than were bought, and
//!   the units of a line add up to what was paid for it: decided under one lock per order, kept by constraints.
//! - An amount is set aside before the payment service is called, and given back only on evidence that no money moved.
//!   Without a clear answer a refund stays in state PROCESSING and is tried again under the same id.
//! - The outcome may be learnt from the call's answer or from the payment service's log. Whichever is first takes
//!   effect, once, with one event.
//!
//! It calls no channel and keeps no books.

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
mod worker;

pub use app::App;
pub use authorization::RPC_ACCESS;
pub use config::Config;
