use secrecy::ExposeSecret;
use tael_sealed::{Keyring, KeyringError};

use crate::{CONTEXT, KEY_A, KEY_B, keyring, opened};

#[test]
fn malformed_keyrings_are_refused_without_showing_keys() {
    let too_short = "k:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==";
    let unpadded = KEY_A.trim_end_matches('=');
    let long_id = "k".repeat(33);
    let cases = [
        (String::new(), KeyringError::Empty),
        (" \n".to_owned(), KeyringError::Empty),
        ("hunter2".to_owned(), KeyringError::MissingSeparator { position: 1 }),
        (format!("{KEY_A},"), KeyringError::MissingSeparator { position: 2 }),
        (KEY_A.replace("2026-01", ""), KeyringError::InvalidId { position: 1 }),
        (KEY_A.replace("2026-01", "new key"), KeyringError::InvalidId { position: 1 }),
        (KEY_A.replace("2026-01", "ключ"), KeyringError::InvalidId { position: 1 }),
        (KEY_A.replace("2026-01", &long_id), KeyringError::InvalidId { position: 1 }),
        (format!("{KEY_A},{too_short}"), KeyringError::InvalidKey { position: 2 }),
        (unpadded.to_owned(), KeyringError::InvalidKey { position: 1 }),
        ("k:hunter2".to_owned(), KeyringError::InvalidKey { position: 1 }),
        (format!("{KEY_A},{KEY_B},{KEY_A}"), KeyringError::DuplicateId { position: 3 }),
    ];
    for (text, expected) in cases {
        let error = text.parse::<Keyring>().unwrap_err();
        assert_eq!(error, expected, "{text}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

#[test]
fn debug_shows_ids_and_no_keys() {
    let keyring = keyring(&format!("{KEY_A},{KEY_B}"));
    assert_eq!(format!("{keyring:?}"), "Keyring { key_ids: [\"2026-01\", \"2026-07\"], .. }");
}

#[test]
fn a_generated_keyring_can_be_stored_and_read_again() {
    let text = Keyring::generate_text("dev");
    assert!(text.expose_secret().starts_with("dev:"));
    let sealed = Keyring::parse(&text).unwrap().seal(b"secret", CONTEXT);
    assert_eq!(opened(&Keyring::parse(&text).unwrap(), &sealed, CONTEXT).unwrap(), b"secret");
    assert_ne!(text.expose_secret(), Keyring::generate_text("dev").expose_secret());
}
