use proptest::prelude::*;
use tael_sealed::{Keyring, OpenError};

use crate::{CONTEXT, KEY_A, KEY_B, keyring, opened};

#[test]
fn the_layout_is_the_documented_one() {
    let sealed = keyring(KEY_A).seal(b"secret", CONTEXT);
    assert_eq!(&sealed[..9], b"\x01\x072026-01");
    assert_eq!(sealed.len(), 1 + 1 + 7 + 12 + 6 + 16);
}

#[test]
fn a_value_sealed_by_another_implementation_opens() {
    let sealed = hex(SEALED_ELSEWHERE);
    assert_eq!(opened(&keyring(KEY_A), &sealed, CONTEXT).unwrap(), b"hunter2");
}

/// Made by Python's `cryptography` 48 from the documented layout alone: header + nonce 00…0b +
/// `AESGCM(key A).encrypt(nonce, b"hunter2", header + context)`.
const SEALED_ELSEWHERE: &str =
    "0107323032362d3031000102030405060708090a0b2f77b86fa097f0e54fed3ab5de577950547c00b2391fe0";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

#[test]
fn equal_plaintexts_seal_differently() {
    let keyring = Keyring::generate();
    assert_ne!(keyring.seal(b"secret", CONTEXT), keyring.seal(b"secret", CONTEXT));
}

#[test]
fn a_value_moved_to_another_row_does_not_open() {
    let keyring = Keyring::generate();
    let sealed = keyring.seal(b"secret", CONTEXT);
    for other in [&b"payment.channel_account:018f6d5f"[..], b"", &CONTEXT[1..], &[CONTEXT, b" "].concat()] {
        assert_eq!(opened(&keyring, &sealed, other), Err(OpenError::Rejected));
    }
}

#[test]
fn altering_any_bit_is_noticed() {
    let keyring = keyring(&format!("{KEY_A},{KEY_B}"));
    let sealed = keyring.seal(b"a secret of some length", CONTEXT);
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut altered = sealed.clone();
            altered[at] ^= 1 << bit;
            assert!(opened(&keyring, &altered, CONTEXT).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn cutting_or_extending_is_noticed() {
    let keyring = Keyring::generate();
    let sealed = keyring.seal(b"a secret of some length", CONTEXT);
    for length in 0..sealed.len() {
        assert!(opened(&keyring, &sealed[..length], CONTEXT).is_err(), "{length} bytes");
    }
    let extended = [&sealed[..], b"x"].concat();
    assert_eq!(opened(&keyring, &extended, CONTEXT), Err(OpenError::Rejected));
}

#[test]
fn a_value_of_an_unknown_key_names_the_key() {
    let sealed = keyring(KEY_A).seal(b"secret", CONTEXT);
    let error = opened(&keyring(KEY_B), &sealed, CONTEXT).unwrap_err();
    assert_eq!(error, OpenError::UnknownKey { key_id: "2026-01".to_owned() });
    assert_eq!(error.to_string(), "the value is sealed under the key \"2026-01\", which the keyring lacks");
}

#[test]
fn another_key_of_the_same_id_does_not_open() {
    let sealed = keyring(KEY_A).seal(b"secret", CONTEXT);
    let impostor = keyring(&KEY_B.replace("2026-07", "2026-01"));
    assert_eq!(opened(&impostor, &sealed, CONTEXT), Err(OpenError::Rejected));
}

proptest! {
    #[test]
    fn what_was_sealed_opens(
        plaintext in prop::collection::vec(any::<u8>(), 0..300),
        context in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let keyring = keyring(KEY_A);
        let sealed = keyring.seal(&plaintext, &context);
        prop_assert_eq!(opened(&keyring, &sealed, &context).unwrap(), plaintext);
    }

    #[test]
    fn arbitrary_bytes_neither_open_nor_panic(sealed in prop::collection::vec(any::<u8>(), 0..100)) {
        let keyring = keyring(KEY_A);
        prop_assert!(opened(&keyring, &sealed, CONTEXT).is_err());
        keyring.needs_reseal(&sealed);
    }

    #[test]
    fn arbitrary_bytes_behind_a_true_header_neither_open_nor_panic(
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let sealed = [b"\x01\x072026-01", &body[..]].concat();
        let expected = if body.len() < 12 + 16 { OpenError::Malformed } else { OpenError::Rejected };
        prop_assert_eq!(opened(&keyring(KEY_A), &sealed, CONTEXT), Err(expected));
    }
}
