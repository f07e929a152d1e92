//! Who makes a call, shown by a signed token that every service verifies without asking anybody.
//!
//! The merchant service issues tokens ([`Issuer`]); they travel in the metadata `tael-principal`; every service verifies
//! them ([`Verifier`]). A token is a JWS in compact form (RFC 7515) with an Ed25519 signature (`alg` EdDSA, RFC 8037) and
//! the claims of RFC 7519: it names its signing key (`kid`), who is meant (`sub`), and until when it holds (`exp`). Other
//! algorithms are refused, also where a token asks for them.
//!
//! # Keys and their rotation
//!
//! Tokens are signed by one key, `<key-id>:<base64 of 32 bytes>`, the secret seed of RFC 8032. They are verified by a list
//! of public keys, `<key-id>:<base64 of 32 bytes>`, separated by commas. To rotate without a refusal: add the new public
//! key everywhere and roll that out; sign by the new key; and when the last token of the old one has ended, drop the old
//! public key.

mod keys;
mod token;

use std::collections::BTreeSet;

pub use keys::{KeyError, SigningKey, VerificationKeys};
use tael_ids::MerchantId;
pub use token::{Issuer, Token, TokenError, Verifier};

/// The metadata that carries the token.
pub const METADATA: &str = "tael-principal";

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The one who acts, as it is written down as the operator of what is done: the id of an API key (`key_…`), a
    /// person's id, a service's name. 1 to 64 characters.
    pub subject: String,
    /// What kind of caller the subject is.
    pub kind: Kind,
    /// The merchant for whom the subject acts: it can name no other. None for those who act for the platform.
    pub merchant: Option<MerchantId>,
    /// What a person is among the merchant's people: "owner", "finance", "support", "cashier". Empty for programs.
    pub roles: BTreeSet<String>,
    /// What the token is limited to; empty when it may do everything within its merchant.
    pub scopes: BTreeSet<String>,
}

/// A kind of caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A service of the platform.
    Service,
    /// A person who has signed in.
    Person,
    /// A merchant's program, by its API key.
    ApiKey,
}
