//! gRPC: a request becomes domain values, a use case runs, its result goes on the wire.

mod api_key;
mod convert;
mod error;
mod merchant;
mod parse;

pub(crate) use api_key::ApiKeyRpc;
pub(crate) use merchant::MerchantRpc;
