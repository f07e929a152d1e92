//! What a sealed column promises to its service, and denies to whoever can write to the database.

mod opening;
mod parsing;
mod rotation;

use secrecy::{ExposeSecret, SecretString};
use tael_sealed::Keyring;

const CONTEXT: &[u8] = b"payment.channel_account:018f6d5e";

/// Two fixed keys, so that a failing case can be repeated.
const KEY_A: &str = "2026-01:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const KEY_B: &str = "2026-07://///////////////////////////////////////wA=";

fn keyring(text: &str) -> Keyring {
    Keyring::parse(&SecretString::from(text)).expect("the keyring of a test is well-formed")
}

/// What `sealed` opens to, as ordinary bytes that can be compared.
fn opened(keyring: &Keyring, sealed: &[u8], context: &[u8]) -> Result<Vec<u8>, tael_sealed::OpenError> {
    keyring.open(sealed, context).map(|plaintext| plaintext.expose_secret().to_vec())
}
