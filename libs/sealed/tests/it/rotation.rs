use crate::{CONTEXT, KEY_A, KEY_B, keyring, opened};

/// The steps of the crate's documentation, each with the replicas of the step before it still running.
#[test]
fn keys_rotate_without_downtime() {
    let before = keyring(KEY_A);
    let prepared = keyring(&format!("{KEY_A},{KEY_B}"));
    let rotated = keyring(&format!("{KEY_B}, {KEY_A}"));
    let after = keyring(KEY_B);

    let old = before.seal(b"old", CONTEXT);
    assert_eq!(opened(&prepared, &old, CONTEXT).unwrap(), b"old");

    let prepared_value = prepared.seal(b"prepared", CONTEXT);
    assert_eq!(opened(&before, &prepared_value, CONTEXT).unwrap(), b"prepared");

    let new = rotated.seal(b"new", CONTEXT);
    assert_eq!(opened(&prepared, &new, CONTEXT).unwrap(), b"new");
    assert_eq!(opened(&rotated, &old, CONTEXT).unwrap(), b"old");

    assert!(opened(&after, &old, CONTEXT).is_err());
    let resealed = rotated.seal(&opened(&rotated, &old, CONTEXT).unwrap(), CONTEXT);
    assert_eq!(opened(&after, &resealed, CONTEXT).unwrap(), b"old");
}

#[test]
fn only_what_another_key_sealed_needs_resealing() {
    let rotated = keyring(&format!("{KEY_B},{KEY_A}"));
    assert!(rotated.needs_reseal(&keyring(KEY_A).seal(b"old", CONTEXT)));
    assert!(!rotated.needs_reseal(&rotated.seal(b"new", CONTEXT)));
    assert!(!rotated.needs_reseal(b"no sealed value"));
    assert!(!rotated.needs_reseal(b""));
}
