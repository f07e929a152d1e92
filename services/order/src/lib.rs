//! The order service owns orders, their prices, promotions, expiry, vouchers and redemption.
//!
//! It promises that a price adds up to the minor unit; that an order is paid by one payment of exactly its total, and
//! money that comes when it does not wait for it is kept and shown as an unapplied payment, and then accepted or given back as the merchant
//! decides; that an order is given up only after its payment is known to be closed; and that a voucher is redeemed no
//! more often than was paid for. It never talks to a channel.

mod app;
mod authorization;
mod clients;
mod config;
mod consumers;
mod contact;
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
pub use domain::code::{CodeError, VoucherCode};
