//! The notification service: webhook endpoints, and the deliveries of events to them.
//!
//! It promises:
//!
//! - Every event of the order, payment, refund and settlement logs becomes one delivery for each active endpoint of its
//!   merchant that wants its type, in the transaction that moves the log's cursor.
//! - A delivery is sent, signed as the Standard Webhooks specification says (<https://www.standardwebhooks.com>), until
//!   the endpoint answers 2xx or the schedule is used up. It may arrive more than once, always under the same
//!   `webhook-id`; in normal operation it arrives once.
//! - No request goes to a private address, whatever a name resolves to, and no redirect is followed.
//!
//! It does not promise an order: a payment's events may arrive in any order, for one that fails is tried again while
//! later ones go on. A receiver goes by the body's `timestamp`, or asks the service concerned.

mod app;
mod authorization;
mod body;
mod config;
mod consumers;
pub mod crash_points;
mod domain;
mod facts;
mod metrics;
mod rpc;
mod sender;
mod store;
mod usecase;
mod worker;

pub use app::App;
pub use authorization::RPC_ACCESS;
pub use config::{Config, Webhooks};
