//! A span as it is kept: what OTLP brought, checked and made small.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Attributes whose value finds a trace, whatever it looks like.
const NAMED_KEYS: [&str; 4] = ["tael.order_id", "tael.payment_id", "tael.refund_id", "tael.merchant_id"];

/// The longest value that finds a trace, in bytes. An id of ours has 30.
const LONGEST_KEY: usize = 64;

/// The services that can share a process, whose resource then says "tael" for all of them.
const SERVICES: [&str; 9] =
    ["audit", "gateway", "merchant", "notification", "order", "payment", "refund", "sandbox", "settlement"];
/// The `service.name` of the process that holds all services.
pub(super) const ALL_IN_ONE: &str = "tael";

/// A trace's id, not zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(u128);

/// A span's id, not zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(u64);

impl TraceId {
    /// Reads 16 bytes that are not all zero.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let id = u128::from_be_bytes(bytes.try_into().ok()?);
        (id != 0).then_some(Self(id))
    }
}

impl SpanId {
    /// Reads 8 bytes that are not all zero.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let id = u64::from_be_bytes(bytes.try_into().ok()?);
        (id != 0).then_some(Self(id))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The text is no trace id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a trace id has 32 hexadecimal digits and is not zero")]
pub struct ParseTraceIdError;

impl FromStr for TraceId {
    type Err = ParseTraceIdError;

    /// Takes a `traceparent` too: `00-<trace id>-<span id>-01`.
    fn from_str(text: &str) -> Result<Self, ParseTraceIdError> {
        let ([digits] | [_, digits, _, _]) = text.split('-').collect::<Vec<_>>()[..] else {
            return Err(ParseTraceIdError);
        };
        if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ParseTraceIdError);
        }
        match u128::from_str_radix(digits, 16) {
            Ok(0) | Err(_) => Err(ParseTraceIdError),
            Ok(id) => Ok(Self(id)),
        }
    }
}

/// An attribute's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(Box<str>),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Any other number.
    Double(f64),
    /// Several values.
    List(Box<[Value]>),
    /// Values by name.
    Map(Attributes),
}

/// Values by name, in the order in which they came.
pub type Attributes = Box<[(Box<str>, Value)]>;

/// What a span is, seen from its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Work within the service, and what says nothing about itself.
    Internal,
    /// The answering side of a call.
    Server,
    /// The asking side of a call.
    Client,
    /// The making of a message.
    Producer,
    /// The handling of a message.
    Consumer,
}

/// How it ended, as its service says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Nothing is said, which is the rule.
    Unset,
    /// Expressly well.
    Ok,
    /// As a fault, with a message that may be empty.
    Error(Box<str>),
}

/// What happened at one moment of a span.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// When, in nanoseconds since 1970.
    pub time_ns: u64,
    /// What.
    pub name: Box<str>,
    /// More about it.
    pub attributes: Attributes,
}

/// A span elsewhere that has to do with this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its trace.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
}

/// What made the spans: a process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    /// What is known about it.
    pub attributes: Attributes,
}

impl Resource {
    /// Its `service.name`.
    pub fn service(&self) -> Option<&str> {
        text(&self.attributes, "service.name").filter(|name| !name.is_empty())
    }
}

/// A span.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// Itself.
    pub span_id: SpanId,
    /// Which span caused it; none for a trace's root.
    pub parent: Option<SpanId>,
    /// What was done.
    pub name: Box<str>,
    /// On which side of a call.
    pub kind: Kind,
    /// When it began, in nanoseconds since 1970.
    pub start_ns: u64,
    /// When it ended, in nanoseconds since 1970; not before it began.
    pub end_ns: u64,
    /// What is known about it.
    pub attributes: Attributes,
    /// What happened in it.
    pub events: Box<[Event]>,
    /// What else has to do with it.
    pub links: Box<[Link]>,
    /// How it ended.
    pub status: Status,
    /// Who made it.
    pub resource: Arc<Resource>,
}

impl Span {
    /// Returns an attribute's text.
    pub fn text(&self, key: &str) -> Option<&str> {
        text(&self.attributes, key)
    }

    /// Whether it ended as a fault.
    pub fn is_error(&self) -> bool {
        matches!(self.status, Status::Error(_))
    }

    /// Returns the service that made it. Where one process holds all services, what the span itself tells says which;
    /// none if it tells nothing, as a library's span, which belongs to whoever caused it.
    pub fn service(&self) -> Option<&str> {
        match self.resource.service() {
            Some(ALL_IN_ONE) => self.part(),
            named => Some(named.unwrap_or("unknown")),
        }
    }

    fn part(&self) -> Option<&str> {
        let known = |name: &str| SERVICES.into_iter().find(|service| *service == name);
        // event.<kind>.<service> and event.batch.<service>
        if let Some(rest) = self.name.strip_prefix("event.") {
            return rest.rsplit('.').next().and_then(known);
        }
        if self.kind == Kind::Server {
            // tael.<service>.v1.<Service>/<Method>
            let method = self.text("rpc.method").filter(|method| method.contains('/')).unwrap_or(&self.name);
            let called = method.strip_prefix("tael.").and_then(|rest| rest.split('.').next()).and_then(known);
            if called.is_some() {
                return called;
            }
        }
        // The crate that opened it.
        match self.text("target")?.split("::").next()? {
            ALL_IN_ONE => Some(ALL_IN_ONE),
            name => name.strip_prefix("tael_").and_then(known),
        }
    }

    /// Returns what it can be found by: the ids it carries.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().filter_map(|(key, value)| match value {
            Value::Text(text) if NAMED_KEYS.contains(&&**key) || is_tael_id(text) => {
                Some(&**text).filter(|text| !text.is_empty() && text.len() <= LONGEST_KEY)
            }
            _ => None,
        })
    }

    /// Returns how many bytes it takes, about. The resource counts in full, though spans share it: so the bound holds
    /// whatever is shared.
    pub(super) fn weight(&self) -> usize {
        let events = self.events.iter().map(|e| size_of::<Event>() + of_text(&e.name) + of(&e.attributes));
        let message = match &self.status {
            Status::Error(message) => of_text(message),
            Status::Unset | Status::Ok => 0,
        };
        size_of::<Self>()
            + of_text(&self.name)
            + of(&self.attributes)
            + events.sum::<usize>()
            + allocated(size_of_val(&*self.links))
            + message
            + of(&self.resource.attributes)
    }
}

fn text<'a>(attributes: &'a [(Box<str>, Value)], key: &str) -> Option<&'a str> {
    attributes.iter().find(|(name, _)| &**name == key).and_then(|(_, value)| match value {
        Value::Text(text) => Some(&**text),
        _ => None,
    })
}

fn of(attributes: &[(Box<str>, Value)]) -> usize {
    attributes.iter().map(|(key, value)| size_of::<Box<str>>() + of_text(key) + of_value(value)).sum()
}

fn of_value(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Text(text) => of_text(text),
            Value::Bool(_) | Value::Int(_) | Value::Double(_) => 0,
            Value::List(values) => values.iter().map(of_value).sum(),
            Value::Map(attributes) => of(attributes),
        }
}

fn of_text(text: &str) -> usize {
    allocated(text.len())
}

/// What an allocator takes for so many bytes, about: glibc rounds up to 16 with 8 of its own, and to 32 at least.
fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}

/// Whether it looks like an id of ours, of whatever kind: see `tael_ids`.
fn is_tael_id(text: &str) -> bool {
    let Some((kind, digits)) = text.split_once('_') else { return false };
    kind.len() == 3
        && digits.len() == 26
        && kind.bytes().all(|byte| byte.is_ascii_lowercase())
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::tree::tests::{resource, span};

    #[test]
    fn a_trace_id_is_read_alone_and_from_a_traceparent() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = format!("00-{id}-00f067aa0ba902b7-01");
        assert_eq!(id.parse::<TraceId>().unwrap().to_string(), id);
        assert_eq!(id.to_uppercase().parse::<TraceId>().unwrap().to_string(), id);
        assert_eq!(parent.parse::<TraceId>().unwrap().to_string(), id);
        for bad in [
            "",
            "4bf9",
            &format!("+{}", &id[1..]),
            &"0".repeat(32),
            &format!("{id}-{id}"),
            "é".repeat(16).as_str(),
        ] {
            assert_eq!(bad.parse::<TraceId>(), Err(ParseTraceIdError), "{bad}");
        }
    }

    #[test]
    fn in_the_process_of_all_services_a_span_says_whose_it_is() {
        let mut span = span(1, None, 0, 1);
        span.resource = resource("tael");
        let mut service = |name: &str, kind, attributes: &[(&str, &str)]| {
            span.name = name.into();
            span.kind = kind;
            span.attributes =
                attributes.iter().map(|(k, v)| ((*k).into(), Value::Text((*v).into()))).collect();
            span.service().map(str::to_owned)
        };
        let create = "tael.order.v1.OrderService/CreateOrder";
        let grpc = ("target", "tael_grpc::server::edge");
        assert_eq!(service(create, Kind::Server, &[grpc]).as_deref(), Some("order"));
        assert_eq!(service("x", Kind::Server, &[("rpc.method", create)]).as_deref(), Some("order"));
        // The asking side belongs to whoever asks.
        assert_eq!(service(create, Kind::Client, &[grpc, ("rpc.method", create)]), None);
        assert_eq!(
            service("event.payment_succeeded.settlement", Kind::Consumer, &[grpc]).as_deref(),
            Some("settlement")
        );
        assert_eq!(service("event.batch.order", Kind::Internal, &[]).as_deref(), Some("order"));
        assert_eq!(
            service("db.order.insert", Kind::Client, &[("target", "tael_order::store")]).as_deref(),
            Some("order")
        );
        assert_eq!(service("db.event.append", Kind::Client, &[("target", "tael_eventlog::log")]), None);
        assert_eq!(service("demo", Kind::Internal, &[("target", "tael::demo")]).as_deref(), Some("tael"));
        span.resource = resource("order");
        assert_eq!(span.service(), Some("order"), "a process of its own");
        span.resource = Arc::default();
        assert_eq!(span.service(), Some("unknown"));
    }

    #[test]
    fn ids_are_found_in_named_attributes_and_by_their_shape() {
        let mut span = span(1, None, 0, 1);
        let id = "vou_01jd2m8x4v9e2y0t3c6b5n7p1q";
        let long = "x".repeat(LONGEST_KEY + 1);
        span.attributes = [
            ("tael.order_id", "my own number"),
            ("tael.refund_id", ""),
            ("tael.merchant_id", &long),
            ("voucher", id),
            ("tael.outcome", "ok"),
        ]
        .into_iter()
        .map(|(k, v)| (k.into(), Value::Text(v.into())))
        .collect();
        assert_eq!(span.keys().collect::<Vec<_>>(), ["my own number", id]);
    }
}
