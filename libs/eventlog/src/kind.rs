//! What the contracts say of each kind of event: its name, its subject, who may be told of it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use tael_proto::event::v1::Visibility;
use tael_proto::event::v1::payload::Kind;

/// What a contract states of a kind of event, by the option `event_kind` of its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventKind {
    /// Its name, as "payment.succeeded".
    pub name: String,
    /// The field of the message that is the event's `aggregate_id`.
    pub subject: String,
    /// Who may be told.
    pub visibility: Visibility,
    /// The fields of its message that are ids of things that a span names, by their numbers.
    ids: BTreeMap<u32, Id>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Id {
    Order,
    Payment,
    Refund,
}

/// All kinds, by their field's number in the payload.
static KINDS: LazyLock<BTreeMap<u32, EventKind>> =
    LazyLock::new(|| read(tael_proto::FILE_DESCRIPTOR_SET).expect("the descriptors come from the compiler"));

/// Returns all kinds of events.
pub fn kinds() -> impl Iterator<Item = &'static EventKind> {
    KINDS.values()
}

/// Returns what the contract states of an event's kind.
pub fn event_kind(kind: &Kind) -> &'static EventKind {
    of(&encoded(kind)).0
}

/// Returns the name of an event's kind.
pub fn kind_name(kind: &Kind) -> &'static str {
    &event_kind(kind).name
}

/// An event as it lies in a payload: the key of its field, its length, its message.
fn encoded(kind: &Kind) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(kind.encoded_len());
    kind.encode(&mut bytes);
    bytes
}

/// Returns the kind of what [`encoded`] made, and its message.
fn of(mut event: &[u8]) -> (&'static EventKind, &[u8]) {
    let (number, _) = decode_key(&mut event).expect("it was written a moment ago");
    let _length = decode_varint(&mut event).expect("it was written a moment ago");
    (&KINDS[&number], event)
}

/// The ids of what an event is about, for its span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) order: Option<String>,
    pub(crate) payment: Option<String>,
    pub(crate) refund: Option<String>,
}

/// Returns the name of an event's kind, and which things it is about.
pub(crate) fn described(kind: &Kind) -> (&'static str, Subject) {
    let event = encoded(kind);
    let (kind, message) = of(&event);
    (&kind.name, subject(kind, message).expect("it was written a moment ago"))
}

/// Picks the ids out of a message. One that is empty is not written; an event of old may lack it.
fn subject(kind: &EventKind, mut message: &[u8]) -> Result<Subject, prost::DecodeError> {
    let mut subject = Subject::default();
    while !message.is_empty() {
        let (number, wire_type) = decode_key(&mut message)?;
        let place = match kind.ids.get(&number) {
            Some(Id::Order) => &mut subject.order,
            Some(Id::Payment) => &mut subject.payment,
            Some(Id::Refund) => &mut subject.refund,
            None => {
                skip_field(wire_type, number, &mut message, DecodeContext::default())?;
                continue;
            }
        };
        let id = place.insert(String::new());
        prost::encoding::string::merge(
            WireType::LengthDelimited,
            id,
            &mut message,
            DecodeContext::default(),
        )?;
    }
    Ok(subject)
}

fn read(descriptors: &[u8]) -> Result<BTreeMap<u32, EventKind>, prost::DecodeError> {
    let files = descriptor::Files::decode(descriptors)?.files;
    let messages: BTreeMap<String, &descriptor::Message> = files
        .iter()
        .flat_map(|file| file.messages.iter().map(|m| (format!(".{}.{}", file.package, m.name), m)))
        .collect();
    let payload = messages.get(".tael.event.v1.Payload").map(|m| m.fields.as_slice()).unwrap_or_default();
    Ok(payload
        .iter()
        .filter_map(|field| Some((field.number, kind(messages.get(&field.type_name)?))))
        .collect())
}

fn kind(message: &descriptor::Message) -> EventKind {
    let stated = message.options.clone().and_then(|options| options.event_kind).unwrap_or_default();
    let id = |field: &descriptor::Field| match field.name.as_str() {
        "order_id" => Some((field.number, Id::Order)),
        "payment_id" => Some((field.number, Id::Payment)),
        "refund_id" => Some((field.number, Id::Refund)),
        _ => None,
    };
    EventKind {
        visibility: stated.visibility(),
        name: stated.name,
        subject: stated.subject,
        ids: message.fields.iter().filter_map(id).collect(),
    }
}

/// The parts of `google/protobuf/descriptor.proto` that are looked at, with our option as a field of its own: the types
/// that come with prost do not keep options that they do not know.
mod descriptor {
    use tael_proto::event::v1::EventKind;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Files {
        #[prost(message, repeated, tag = "1")]
        pub(super) files: Vec<File>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct File {
        #[prost(string, tag = "2")]
        pub(super) package: String,
        #[prost(message, repeated, tag = "4")]
        pub(super) messages: Vec<Message>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Message {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(message, repeated, tag = "2")]
        pub(super) fields: Vec<Field>,
        #[prost(message, optional, tag = "7")]
        pub(super) options: Option<MessageOptions>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Field {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(uint32, tag = "3")]
        pub(super) number: u32,
        #[prost(string, tag = "6")]
        pub(super) type_name: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct MessageOptions {
        #[prost(message, optional, tag = "50001")]
        pub(super) event_kind: Option<EventKind>,
    }
}

#[cfg(test)]
mod tests {
    use tael_proto::event::v1::{BatchClosed, OrderRefunded, PaymentIntegrityAlertRaised};

    use super::*;

    #[test]
    fn an_event_is_about_the_ids_that_its_message_has() {
        let refunded = OrderRefunded {
            order_id: "ord_1".to_owned(),
            refund_id: "ref_1".to_owned(),
            ..OrderRefunded::default()
        };
        let (name, subject) = described(&Kind::OrderRefunded(refunded));
        assert_eq!(name, "order.refunded");
        let expected =
            Subject { order: Some("ord_1".to_owned()), payment: None, refund: Some("ref_1".to_owned()) };
        assert_eq!(subject, expected);
        let nothing = described(&Kind::BatchClosed(BatchClosed::default()));
        assert_eq!(nothing, ("batch.closed", Subject::default()));
    }

    /// Receivers of webhooks choose events by their names.
    #[test]
    fn a_renamed_message_keeps_its_name() {
        let alert = Kind::PaymentIntegrityAlertRaised(PaymentIntegrityAlertRaised::default());
        assert_eq!(kind_name(&alert), "payment.alarm_raised");
    }
}
