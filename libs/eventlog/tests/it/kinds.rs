use std::collections::HashSet;

use prost::Message as _;
use prost_types::FileDescriptorSet;
use prost_types::field_descriptor_proto::Type;
use tael_eventlog::{event_kind, kind_name, kinds};
use tael_proto::FILE_DESCRIPTOR_SET;
use tael_proto::event::v1::{Payload, Visibility};

/// Makes an empty event of the kind with this field number: the key of a message field, and the length zero.
fn empty(number: u32) -> Payload {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut bytes);
    bytes.push(0);
    Payload::decode(bytes.as_slice()).unwrap()
}

#[test]
fn every_event_states_its_name_its_subject_and_who_may_be_told() {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let messages: Vec<_> = files
        .file
        .iter()
        .filter(|file| file.package() == "tael.event.v1")
        .flat_map(|file| &file.message_type)
        .collect();
    let message_of = |name: &str| messages.iter().find(|message| message.name() == name).unwrap();
    let payload = message_of("Payload");
    assert!(!payload.field.is_empty());
    let mut names = HashSet::new();
    for field in &payload.field {
        let kind = empty(field.number().unsigned_abs()).kind.unwrap();
        let stated = event_kind(&kind);
        let (domain, rest) = stated.name.split_once('.').expect("a name is <domain>.<what became true>");
        assert!(!domain.is_empty() && !rest.is_empty(), "{}", stated.name);
        assert!(names.insert(kind_name(&kind)), "{} names two kinds", stated.name);
        assert_ne!(stated.visibility, Visibility::Unspecified, "{}", stated.name);
        let message = message_of(field.type_name().rsplit('.').next().unwrap());
        let subject = message.field.iter().find(|field| field.name() == stated.subject);
        let subject = subject.unwrap_or_else(|| panic!("{} has no field {:?}", stated.name, stated.subject));
        assert_eq!(subject.r#type(), Type::String, "{}", stated.name);
    }
    assert_eq!(names, kinds().map(|kind| kind.name.as_str()).collect());
}
