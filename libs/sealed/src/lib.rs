//! Sealed columns: secrets and personal data encrypted before they reach the database.
//!
//! A [`Keyring`] seals bytes for one place, the *context*, and opens them only for the same context. The context names
//! the row and the column, for example `payment.channel_account:<uuid>`, so that somebody who can write to the database
//! but has no key cannot make one merchant's credentials open in another merchant's row.
//!
//! # Keys and their rotation
//!
//! A keyring is written as `<key-id>:<base64 of 32 bytes>`, several of them separated by commas. The first key seals;
//! every key opens. To rotate without downtime: put the new key last, roll that out, so that every replica can open what
//! the new key seals; move it to the front, roll that out; re-seal what [`Keyring::needs_reseal`] says; and only then
//! drop the old key.
//!
//! # Layout of a sealed value
//!
//! | bytes | content |
//! | --- | --- |
//! | 1 | version of this layout: 1 |
//! | 1 | length of the key id, 1 to 32 |
//! | 1 – 32 | key id, ASCII |
//! | 12 | random nonce |
//! | any | ciphertext, as long as the plaintext |
//! | 16 | authentication tag |
//!
//! The cipher is AES-256-GCM (NIST SP 800-38D). Everything before the nonce, followed by the context, is its additional
//! authenticated data, so no byte of a sealed value can be changed unnoticed. Nonces are random, which SP 800-38D
//! section 8.3 allows for up to 2³² values sealed under one key; rotate long before that.
//!
//! Equal plaintexts seal differently, so a sealed column can be neither searched nor made unique.

mod keyring;
mod layout;

pub use keyring::{Keyring, KeyringError, OpenError};
