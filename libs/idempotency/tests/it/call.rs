use tael_grpc::status::{bad_fields, reason};
use tael_idempotency::Call;
use tonic::Code;
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::message;

fn metadata(key: &[u8]) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert("idempotency-key", MetadataValue::try_from(key).unwrap());
    metadata
}

#[test]
fn a_key_is_1_to_128_visible_characters() {
    let read = |metadata: &MetadataMap| Call::new(&"tester", "Do", metadata, &message(7));
    assert_eq!(read(&metadata(b"k")).unwrap().guard().key, "k");
    assert!(read(&metadata("~!".repeat(64).as_bytes())).is_ok());
    let long = "x".repeat(129);
    for bad in [b"".as_slice(), b" ", b"a b", b"a\tb", "é".as_bytes(), b"\xff", long.as_bytes()] {
        let refused = read(&metadata(bad)).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{bad:?}");
        assert_eq!(bad_fields(&refused), ["idempotency-key"]);
    }
    let missing = read(&MetadataMap::new()).unwrap_err();
    assert_eq!(missing.code(), Code::InvalidArgument);
    assert_eq!(bad_fields(&missing), ["idempotency-key"]);
}

#[test]
fn a_fingerprint_is_of_the_method_and_the_request() {
    let guard = |method, request| Call::with_key(&"tester", method, "k", &message(request)).guard();
    let stored = guard("Do", 7).fingerprint;
    assert!(guard("Do", 7).matches(&stored));
    for other in [guard("Do", 8), guard("Undo", 7)] {
        assert!(!other.matches(&stored));
        let conflict = other.conflict();
        assert_eq!(conflict.code(), Code::AlreadyExists);
        assert_eq!(reason(&conflict).as_deref(), Some("IDEMPOTENCY_KEY_REUSED"));
    }
}
