//! SQL: rows become domain values here and nowhere else.

pub(crate) mod api_key;
pub(crate) mod merchant;
