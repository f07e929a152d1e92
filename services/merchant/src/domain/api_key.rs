//! API keys and their secrets.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tael_ids::{ApiKeyId, MerchantId};

/// A merchant's credential, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiKey {
    pub(crate) id: ApiKeyId,
    pub(crate) merchant_id: MerchantId,
    pub(crate) label: String,
    pub(crate) create_time: Timestamp,
    pub(crate) revoke_time: Option<Timestamp>,
}

/// The randomness of the machine failed.
#[derive(Debug, thiserror::Error)]
#[error("no randomness to be had")]
pub(crate) struct NoRandomness;

/// What a merchant's program shows: "sk_" and 256 random bits.
#[derive(Debug)]
pub(crate) struct Secret(SecretString);

impl Secret {
    pub(crate) fn generate() -> Result<Self, NoRandomness> {
        let mut bits = [0; 32];
        rand::fill(&mut bits).map_err(|_| NoRandomness)?;
        Ok(Self(format!("sk_{}", URL_SAFE_NO_PAD.encode(bits)).into()))
    }

    /// Takes what a caller shows; any text may turn out to be nobody's.
    pub(crate) fn shown(text: String) -> Self {
        Self(text.into())
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> Vec<u8> {
        Sha256::digest(self.0.expose_secret()).to_vec()
    }

    /// Gives it to its merchant.
    pub(crate) fn reveal(&self) -> String {
        self.0.expose_secret().to_owned()
    }
}
