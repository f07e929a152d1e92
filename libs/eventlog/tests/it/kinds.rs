use std::collections::HashSet;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use tael_eventlog::{KINDS, kind_name};
use tael_proto::FILE_DESCRIPTOR_SET;
use tael_proto::event::v1::Payload;

/// Makes an empty event of the kind with this field number: the key of a message field, and the length zero.
fn empty(number: u32) -> Payload {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
    bytes.push(0);
    Payload::decode(bytes.as_slice()).unwrap()
}

#[test]
fn every_kind_of_the_contract_has_a_name_of_its_own_and_every_name_a_kind() {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let payload = files
        .file
        .iter()
        .filter(|file| file.package() == "tael.event.v1")
        .flat_map(|file| &file.message_type)
        .find(|message| message.name() == "Payload")
        .unwrap();
    assert!(!payload.field.is_empty());
    let mut named = HashSet::new();
    for field in &payload.field {
        let kind = empty(field.number().unsigned_abs()).kind.unwrap();
        let name = kind_name(&kind);
        assert!(named.insert(name), "{name} names two kinds");
        assert_eq!(name.replace('.', "_"), field.name(), "the name is the field's, with a point");
    }
    assert_eq!(named, KINDS.iter().copied().collect());
    assert_eq!(named.len(), KINDS.len());
}
