//! Black-box tests of the merchant service over gRPC.

mod api_key;
mod idempotency;
mod merchant;
mod support;
