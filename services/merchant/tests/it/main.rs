//! Black-box tests of the merchant service over gRPC.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api_key;
mod fixture;
mod idempotency;
mod merchant;
mod migrate;
mod process;
