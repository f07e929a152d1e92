//! The merchant service owns merchants and their API keys.
//!
//! It promises that only what it says is approved takes live money, and that an API key's secret is known to nobody
//! but its merchant: a hash is kept. It never touches money.

mod app;
mod authorization;
mod config;
mod domain;
mod events;
mod rpc;
mod store;
mod usecase;

pub use app::App;
pub use authorization::RPC_ACCESS;
pub use config::Config;
