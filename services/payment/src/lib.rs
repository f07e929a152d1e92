//! The payment service: payments, attempts, channel accounts, and all traffic with channels.
//!
//! It promises:
//! - A call to a channel is committed as an intent before it is made, and its outcome is recorded after. An answer
//!   that is missing or unclear leaves the attempt in doubt; nothing is ever failed for lack of an answer.
//! - An order has at most one payment that may still bring money.
//! - Evidence is believed only when its signature verifies and it agrees with our record; else it is refused, or it
//!   is an integrity alert. Evidence that is repeated, late or out of order never moves a state backwards.
//! - Money that the channel has taken is recorded, however late it is heard of.
//! - Refunds never exceed what was taken: the amount is reserved under lock before the channel is called.
//!
//! - A channel account that does not answer is left alone for a time: a new payment is refused before anything is stored,
//!   and what is open waits, but for one call at a time that finds out whether it answers again.
//!
//! It keeps no books and decides no refund policy. `domain` decides, `usecase` does, `channel` speaks to the channels,
//! `store` keeps, `rpc` is the edge, `worker` asks channels again.

mod accounts;
mod app;
mod authorization;
mod channel;
mod clients;
mod config;
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
