//! What exists and how it changes: no I/O here.

pub(crate) mod api_key;
pub(crate) mod merchant;
