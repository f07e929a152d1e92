use std::fmt;
use std::str::FromStr;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use crate::layout::{self, NONCE_BYTES, TAG_BYTES};

const KEY_BYTES: usize = 32;

/// The keys of one service: the first seals, all of them open.
pub struct Keyring {
    sealing: Key,
    older: Vec<Key>,
}

struct Key {
    id: String,
    cipher: RandomizedNonceKey,
}

/// Why a text is not a keyring. Says where, never what: the text holds keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// There is no key in it.
    #[error("the keyring is empty")]
    Empty,
    /// A key is not of the form `<key-id>:<base64>`.
    #[error("key {position} of the keyring is not of the form <key-id>:<base64>")]
    MissingSeparator {
        /// Which key, counted from 1.
        position: usize,
    },
    /// A key id is not 1 to 32 ASCII letters, digits, `-`, `_` and `.`.
    #[error("the id of key {position} of the keyring is not 1 to 32 letters, digits, '-', '_' and '.'")]
    InvalidId {
        /// Which key, counted from 1.
        position: usize,
    },
    /// A key is not 32 bytes in padded standard base64.
    #[error("key {position} of the keyring is not 32 bytes in base64")]
    InvalidKey {
        /// Which key, counted from 1.
        position: usize,
    },
    /// Two keys have the same id.
    #[error("key {position} of the keyring has the id of an earlier key")]
    DuplicateId {
        /// Which key, counted from 1.
        position: usize,
    },
}

/// Why a sealed value did not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The bytes are no sealed value, or are cut short.
    #[error("the bytes are not a sealed value")]
    Malformed,
    /// The keyring lacks the key that sealed the value.
    #[error("the value is sealed under the key {key_id:?}, which the keyring lacks")]
    UnknownKey {
        /// The id of the missing key.
        key_id: String,
    },
    /// The value was altered, belongs to another context, or was sealed under another key of the same id.
    #[error("the sealed value was altered or belongs elsewhere")]
    Rejected,
}

impl Keyring {
    /// Reads `<key-id>:<base64 of 32 bytes>[,<key-id>:<base64>…]`, as in the crate's documentation. Space around keys
    /// is ignored.
    pub fn parse(text: &SecretString) -> Result<Keyring, KeyringError> {
        text.expose_secret().parse()
    }

    /// A keyring with one random key, called `generated`, for tests: what it seals is lost with it.
    ///
    /// # Panics
    ///
    /// When the system provides no randomness.
    pub fn generate() -> Keyring {
        Keyring::parse(&Keyring::generate_text("generated")).expect("the text was made to be a keyring")
    }

    /// The text of a keyring with one random key, to be stored where the service finds it at every start.
    ///
    /// # Panics
    ///
    /// When `key_id` is not acceptable as the id of a key (see [`KeyringError::InvalidId`]), and when the system
    /// provides no randomness.
    pub fn generate_text(key_id: &str) -> SecretString {
        assert!(layout::is_key_id(key_id), "{key_id:?} is not a key id");
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        aws_lc_rs::rand::fill(key.as_mut_slice()).expect("the system provides randomness");
        let encoded = Zeroizing::new(STANDARD.encode(key.as_slice()));
        SecretString::from(format!("{key_id}:{}", encoded.as_str()))
    }

    /// Seals `plaintext` for `context` under the first key. Sealing the same twice gives different bytes.
    ///
    /// # Panics
    ///
    /// When the system provides no randomness, and beyond the 64 GiB that AES-GCM can seal at once.
    pub fn seal(&self, plaintext: &[u8], context: &[u8]) -> Vec<u8> {
        let header = layout::header(&self.sealing.id);
        let authenticated = layout::authenticated(&header, context);
        let body_start = header.len() + NONCE_BYTES;

        let mut sealed = Vec::with_capacity(body_start + plaintext.len() + TAG_BYTES);
        sealed.extend_from_slice(&header);
        sealed.extend_from_slice(&[0; NONCE_BYTES]);
        sealed.extend_from_slice(plaintext);
        let (nonce, tag) = self
            .sealing
            .cipher
            .seal_in_place_separate_tag(Aad::from(authenticated), &mut sealed[body_start..])
            .expect("AES-GCM seals anything below 64 GiB, and the system provides randomness");
        sealed[header.len()..body_start].copy_from_slice(nonce.as_ref());
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens what [`Keyring::seal`] made for the same `context`, under whichever key of the ring sealed it.
    pub fn open(&self, sealed: &[u8], context: &[u8]) -> Result<SecretSlice<u8>, OpenError> {
        let parts = layout::split(sealed).ok_or(OpenError::Malformed)?;
        let key = self
            .keys()
            .find(|key| key.id == parts.key_id)
            .ok_or_else(|| OpenError::UnknownKey { key_id: parts.key_id.to_owned() })?;

        let authenticated = layout::authenticated(parts.header, context);
        // The cipher works in place, so the copy holds plaintext from here on and is wiped when dropped.
        let mut buffer = Zeroizing::new(parts.ciphertext_and_tag.to_vec());
        let plaintext = key
            .cipher
            .open_in_place(Nonce::from(parts.nonce), Aad::from(authenticated), &mut buffer)
            .map_err(|_| OpenError::Rejected)?;
        Ok(SecretSlice::from(Box::<[u8]>::from(&*plaintext)))
    }

    /// Whether `sealed` should be opened and sealed again, because another key than the first sealed it.
    ///
    /// `false` for bytes that are no sealed value: they cannot be opened, so sealing them again is no remedy.
    pub fn needs_reseal(&self, sealed: &[u8]) -> bool {
        layout::split(sealed).is_some_and(|parts| parts.key_id != self.sealing.id)
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.sealing).chain(&self.older)
    }
}

impl FromStr for Keyring {
    type Err = KeyringError;

    fn from_str(text: &str) -> Result<Keyring, KeyringError> {
        if text.trim().is_empty() {
            return Err(KeyringError::Empty);
        }
        let mut keys: Vec<Key> = Vec::new();
        for (index, entry) in text.split(',').enumerate() {
            let position = index + 1;
            let key = parse_key(entry.trim(), position)?;
            if keys.iter().any(|earlier| earlier.id == key.id) {
                return Err(KeyringError::DuplicateId { position });
            }
            keys.push(key);
        }
        let sealing = keys.remove(0);
        Ok(Keyring { sealing, older: keys })
    }
}

fn parse_key(entry: &str, position: usize) -> Result<Key, KeyringError> {
    let (id, encoded) = entry.split_once(':').ok_or(KeyringError::MissingSeparator { position })?;
    if !layout::is_key_id(id) {
        return Err(KeyringError::InvalidId { position });
    }
    let bytes = STANDARD.decode(encoded).map_err(|_| KeyringError::InvalidKey { position })?;
    let bytes = Zeroizing::new(bytes);
    if bytes.len() != KEY_BYTES {
        return Err(KeyringError::InvalidKey { position });
    }
    let cipher =
        RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| KeyringError::InvalidKey { position })?;
    Ok(Key { id: id.to_owned(), cipher })
}

/// Shows the ids of the keys, the sealing one first, and never the keys.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<&str> = self.keys().map(|key| key.id.as_str()).collect();
        f.debug_struct("Keyring").field("key_ids", &ids).finish_non_exhaustive()
    }
}
