//! One function per use case; the only place that opens transactions.

mod api_key;
mod merchant;

pub(crate) use api_key::{ApiKeyError, ApiKeys};
pub(crate) use merchant::{MerchantError, Merchants};
