//! Keys as they are configured.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{DecodingKey, EncodingKey};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};

const KEY_BYTES: usize = 32;
const MAX_ID: usize = 32;

/// Why a text is no key. Says where, never what: the text may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A key is not of the form `<key-id>:<base64>`.
    #[error("key {position} is not of the form <key-id>:<base64>")]
    MissingSeparator {
        /// Which key, counted from 1.
        position: usize,
    },
    /// A key id is not 1 to 32 ASCII letters, digits, `-`, `_` and `.`.
    #[error("the id of key {position} is not 1 to 32 letters, digits, '-', '_' and '.'")]
    InvalidId {
        /// Which key, counted from 1.
        position: usize,
    },
    /// A key is not 32 bytes in padded standard base64.
    #[error("key {position} is not 32 bytes in base64")]
    InvalidKey {
        /// Which key, counted from 1.
        position: usize,
    },
    /// Two keys have the same id.
    #[error("key {position} has the id of an earlier key")]
    DuplicateId {
        /// Which key, counted from 1.
        position: usize,
    },
}

/// The secret key that signs tokens.
#[derive(Clone)]
pub struct SigningKey {
    pub(crate) id: String,
    pub(crate) key: EncodingKey,
    public: [u8; KEY_BYTES],
}

/// The public keys that tokens are verified by; without any, no token holds.
#[derive(Clone, Default)]
pub struct VerificationKeys(pub(crate) BTreeMap<String, DecodingKey>);

impl SigningKey {
    /// The text of a new random key with an id of 1 to 32 letters, digits, `-`, `_` and `.`.
    ///
    /// # Panics
    ///
    /// When the system provides no randomness.
    pub fn generate_text(id: &str) -> Result<SecretString, KeyError> {
        if !is_key_id(id) {
            return Err(KeyError::InvalidId { position: 1 });
        }
        let mut seed = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(seed.as_mut_slice()).expect("the system provides randomness");
        let encoded = Zeroizing::new(STANDARD.encode(seed.as_slice()));
        Ok(SecretString::from(format!("{id}:{}", encoded.as_str())))
    }

    /// A random key of this id, for tests and development.
    ///
    /// # Panics
    ///
    /// When the id is not acceptable, and when the system provides no randomness.
    pub fn generate(id: &str) -> (SecretString, Self) {
        let text = Self::generate_text(id).expect("the id is acceptable");
        let key = text.expose_secret().parse().expect("the text was made to be a key");
        (text, key)
    }

    /// The public half as [`VerificationKeys`] are written.
    pub fn verification_text(&self) -> String {
        format!("{}:{}", self.id, STANDARD.encode(self.public))
    }
}

impl FromStr for SigningKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (id, seed) = entry(text, 1)?;
        let invalid = KeyError::InvalidKey { position: 1 };
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| invalid)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| invalid)?;
        let document = pair.to_pkcs8v1().map_err(|_| invalid)?;
        Ok(Self { id, key: EncodingKey::from_ed_der(document.as_ref()), public })
    }
}

impl FromStr for VerificationKeys {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut keys = BTreeMap::new();
        for (index, text) in text.split(',').enumerate() {
            let position = index + 1;
            let (id, public) = entry(text, position)?;
            if keys.insert(id, DecodingKey::from_ed_der(public.as_slice())).is_some() {
                return Err(KeyError::DuplicateId { position });
            }
        }
        Ok(Self(keys))
    }
}

fn entry(text: &str, position: usize) -> Result<(String, Zeroizing<Vec<u8>>), KeyError> {
    let (id, encoded) = text.trim().split_once(':').ok_or(KeyError::MissingSeparator { position })?;
    if !is_key_id(id) {
        return Err(KeyError::InvalidId { position });
    }
    let bytes =
        STANDARD.decode(encoded).map(Zeroizing::new).map_err(|_| KeyError::InvalidKey { position })?;
    if bytes.len() != KEY_BYTES {
        return Err(KeyError::InvalidKey { position });
    }
    Ok((id.to_owned(), bytes))
}

fn is_key_id(id: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(is_allowed)
}

/// Shows the id, and never the key.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Shows the ids.
impl fmt::Debug for VerificationKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerificationKeys").field(&self.0.keys().collect::<Vec<_>>()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_key_is_told_by_its_place() {
        let good = format!("a:{}", STANDARD.encode([7; 32]));
        for (text, error) in [
            (String::new(), KeyError::MissingSeparator { position: 1 }),
            (format!("{good},"), KeyError::MissingSeparator { position: 2 }),
            (format!("{good},a b:x"), KeyError::InvalidId { position: 2 }),
            (format!("{good},b:AAAA"), KeyError::InvalidKey { position: 2 }),
            (format!("{good}, {good}"), KeyError::DuplicateId { position: 2 }),
        ] {
            assert_eq!(text.parse::<VerificationKeys>().unwrap_err(), error, "{text}");
        }
        assert_eq!("a:AAAA".parse::<SigningKey>().unwrap_err(), KeyError::InvalidKey { position: 1 });
    }

    /// Test 1 of RFC 8032, section 7.1.
    #[test]
    fn the_public_half_belongs_to_the_seed() {
        let seed = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
        let key: SigningKey = format!("k1:{seed}").parse().unwrap();
        assert_eq!(key.verification_text(), "k1:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    }

    #[test]
    fn no_key_is_shown() {
        let (_, key) = SigningKey::generate("k1");
        assert_eq!(format!("{key:?}"), "SigningKey { id: \"k1\", .. }");
    }
}
