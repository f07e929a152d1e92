//! The audit service compares what all services hold to be true about money, the ledger and the channels' statements.
//!
//! It reads facts (`proto/tael/audit/v1/fact.proto`) page by page, puts them side by side in temporary tables of its own database, and
//! names every disagreement with its ids. It promises that one account, day or line that can't be read is named and
//! stops nothing else, that work in flight is looked at again before it is reported, and that its memory does not grow
//! with the books. It changes nothing in any other service.
//! [`fact.proto`]: https://protobuf.dev/

mod app;
mod authorization;
mod clients;
mod config;
mod domain;
mod rpc;
mod store;
mod usecase;

pub use app::App;
pub use authorization::RPC_ACCESS;
pub use config::Config;
