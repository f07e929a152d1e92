//! A trace as it is told to people and to programs: the API's JSON, from which the page and the terminal's tree are
//! made too.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::traces::Trace;
use crate::traces::span::{ALL_IN_ONE, Attributes, Kind, Span, SpanId, Status, Value};
use crate::traces::tree::{self, Missing, Node};

/// A trace in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// The name of its root, or of its first span if that has not come.
    pub name: String,
    /// When its first span began.
    pub start_time: Timestamp,
    /// From then until its last span ended.
    pub duration_ns: u64,
    /// How many spans have come.
    pub spans: usize,
    /// How many of them ended as a fault.
    pub errors: usize,
    /// The services that took part, in the order in which they first did.
    pub services: Vec<String>,
    /// What it is about.
    pub ids: Ids,
}

/// What a trace is about: values of the attributes `tael.order_id` and so on, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ids {
    /// Orders.
    pub orders: BTreeSet<String>,
    /// Payments.
    pub payments: BTreeSet<String>,
    /// Refunds.
    pub refunds: BTreeSet<String>,
    /// Merchants.
    pub merchants: BTreeSet<String>,
}

impl Ids {
    /// Returns all of them by what they are ids of.
    pub fn by_kind(&self) -> [(&'static str, &BTreeSet<String>); 4] {
        [
            ("order", &self.orders),
            ("payment", &self.payments),
            ("refund", &self.refunds),
            ("merchant", &self.merchants),
        ]
    }
}

/// A trace in full.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TraceView {
    /// In short.
    #[serde(flatten)]
    pub summary: Summary,
    /// Its spans, each after the one that caused it.
    pub rows: Vec<RowView>,
    /// How many further spans came and were dropped, because the trace alone is larger than the viewer's bounds.
    pub dropped_spans: usize,
    /// Traces that it is linked with, in either direction.
    pub related: Vec<Summary>,
}

/// A span in its place.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RowView {
    /// How many rows stand above it in its branch.
    pub depth: usize,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// What caused it; none for a trace's root.
    pub parent_span_id: Option<String>,
    /// Stands in for a span that others name as their parent and that has not come.
    pub is_missing: bool,
    /// What was done.
    pub name: String,
    /// Who did it.
    pub service: String,
    /// internal, server, client, producer or consumer.
    pub kind: String,
    /// When it began, since the trace did.
    pub offset_ns: u64,
    /// How long it took.
    pub duration_ns: u64,
    /// Whether it ended as a fault.
    pub is_error: bool,
    /// What is said of the fault; may be empty.
    pub error: String,
    /// What came out, in a word, if the span tells: the code of a call, the outcome of an attempt.
    pub outcome: Option<String>,
    /// What is known about it.
    pub attributes: BTreeMap<String, serde_json::Value>,
    /// What happened in it.
    pub events: Vec<EventView>,
    /// What else has to do with it.
    pub links: Vec<LinkView>,
    /// What is known about the process that made it.
    pub resource: BTreeMap<String, serde_json::Value>,
}

/// What happened at one moment of a span.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventView {
    /// When, since the trace began.
    pub offset_ns: u64,
    /// What.
    pub name: String,
    /// More about it.
    pub attributes: BTreeMap<String, serde_json::Value>,
}

/// A span elsewhere that has to do with this one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkView {
    /// Its trace.
    pub trace_id: String,
    /// Itself.
    pub span_id: String,
}

impl Summary {
    /// Tells a trace in short.
    pub fn new(trace: &Trace) -> Self {
        let first = trace.spans.iter().find(|span| span.parent.is_none()).or(trace.spans.first());
        let (start, end) = extent(trace);
        Self {
            trace_id: trace.id.to_string(),
            name: first.map(|span| span.name.to_string()).unwrap_or_default(),
            start_time: Timestamp::from_nanosecond(start.into()).unwrap_or_default(),
            duration_ns: end - start,
            spans: trace.spans.len(),
            errors: trace.spans.iter().filter(|span| span.is_error()).count(),
            services: services(&trace.spans),
            ids: ids(&trace.spans),
        }
    }
}

impl TraceView {
    /// Tells a trace in full.
    pub fn new(trace: &Trace, related: &[Trace]) -> Self {
        let rows = tree::rows(trace);
        let (start, _) = extent(trace);
        Self {
            summary: Summary::new(trace),
            rows: rows
                .iter()
                .map(|row| match &row.node {
                    Node::Span(span, service) => of_span(span, service, row.depth, start),
                    Node::Missing(missing) => of_missing(missing, row.depth, start),
                })
                .collect(),
            dropped_spans: trace.dropped,
            related: related.iter().map(Summary::new).collect(),
        }
    }
}

/// When the first span began and the last one ended.
fn extent(trace: &Trace) -> (u64, u64) {
    let start = trace.spans.iter().map(|span| span.start_ns).min().unwrap_or(0);
    let end = trace.spans.iter().map(|span| span.end_ns).max().unwrap_or(start);
    (start, end)
}

fn services(spans: &[Arc<Span>]) -> Vec<String> {
    let known: HashSet<SpanId> = spans.iter().map(|span| span.span_id).collect();
    let mut services: Vec<String> = Vec::new();
    for span in spans {
        let service = match span.service() {
            Some(service) => service,
            // Its caller's, which has been here, or comes.
            None if span.parent.is_some_and(|parent| known.contains(&parent)) => continue,
            None => ALL_IN_ONE,
        };
        if !services.iter().any(|known| known == service) {
            services.push(service.to_owned());
        }
    }
    services
}

fn ids(spans: &[Arc<Span>]) -> Ids {
    let all = |key| {
        spans
            .iter()
            .filter_map(|span| span.text(key))
            .filter(|id| !id.is_empty())
            .map(str::to_owned)
            .collect()
    };
    Ids {
        orders: all("tael.order_id"),
        payments: all("tael.payment_id"),
        refunds: all("tael.refund_id"),
        merchants: all("tael.merchant_id"),
    }
}

fn of_span(span: &Span, service: &str, depth: usize, start: u64) -> RowView {
    let kind = match span.kind {
        Kind::Internal => "internal",
        Kind::Server => "server",
        Kind::Client => "client",
        Kind::Producer => "producer",
        Kind::Consumer => "consumer",
    };
    RowView {
        depth,
        span_id: span.span_id.to_string(),
        parent_span_id: span.parent.map(|id| id.to_string()),
        is_missing: false,
        name: span.name.to_string(),
        service: service.to_owned(),
        kind: kind.to_owned(),
        offset_ns: span.start_ns - start,
        duration_ns: span.end_ns - span.start_ns,
        is_error: span.is_error(),
        error: match &span.status {
            Status::Error(message) => message.to_string(),
            Status::Unset | Status::Ok => String::new(),
        },
        outcome: outcome(span),
        attributes: map(&span.attributes),
        events: span
            .events
            .iter()
            .map(|event| EventView {
                offset_ns: event.time_ns.saturating_sub(start),
                name: event.name.to_string(),
                attributes: map(&event.attributes),
            })
            .collect(),
        links: span
            .links
            .iter()
            .map(|link| LinkView { trace_id: link.trace_id.to_string(), span_id: link.span_id.to_string() })
            .collect(),
        resource: map(&span.resource.attributes),
    }
}

fn of_missing(missing: &Missing, depth: usize, start: u64) -> RowView {
    RowView {
        depth,
        span_id: missing.id.to_string(),
        parent_span_id: None,
        is_missing: true,
        name: "a span that has not come".to_owned(),
        service: String::new(),
        kind: String::new(),
        offset_ns: missing.start_ns - start,
        duration_ns: missing.end_ns - missing.start_ns,
        is_error: false,
        error: String::new(),
        outcome: None,
        attributes: BTreeMap::new(),
        events: Vec::new(),
        links: Vec::new(),
        resource: BTreeMap::new(),
    }
}

/// What came out, from the most particular attribute to the most general.
fn outcome(span: &Span) -> Option<String> {
    ["tael.outcome", "rpc.response.status_code", "http.response.status_code"].into_iter().find_map(|key| {
        span.attributes.iter().find(|(name, _)| &**name == key).and_then(|(_, value)| match value {
            Value::Text(text) => Some(text.to_string()),
            Value::Int(number) => Some(number.to_string()),
            _ => None,
        })
    })
}

fn map(attributes: &Attributes) -> BTreeMap<String, serde_json::Value> {
    attributes.iter().map(|(key, value)| (key.to_string(), json(value))).collect()
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Text(text) => (&**text).into(),
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        // JSON has no infinity.
        Value::Double(value) => serde_json::Number::from_f64(*value)
            .map_or_else(|| value.to_string().into(), serde_json::Value::Number),
        Value::List(values) => values.iter().map(json).collect(),
        Value::Map(attributes) => serde_json::Value::Object(
            attributes.iter().map(|(key, value)| (key.to_string(), json(value))).collect(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traces::tree::tests::{resource, span, trace};

    fn attribute(key: &str, value: Value) -> (Box<str>, Value) {
        (key.into(), value)
    }

    #[test]
    fn the_root_names_a_trace_though_another_clock_was_ahead_and_libraries_are_no_services() {
        // In a process with all services: a call at order, one of a library below it, and payment's.
        let mut call = span(1, None, 1_000, 9_000);
        call.attributes = [attribute("target", Value::Text("tael_order::rpc".into()))].into();
        let mut pay = span(3, Some(2), 900, 3_000);
        pay.resource = resource("payment");
        let summary = Summary::new(&trace(vec![pay, span(2, Some(1), 1_000, 4_000), call]));
        assert_eq!((summary.name.as_str(), summary.duration_ns), ("1", 8_100));
        assert_eq!(summary.services, ["payment", "order"]);
    }

    #[test]
    fn a_trace_is_summed_up() {
        let mut first = span(1, Some(9), 1_000, 5_000);
        first.attributes = [attribute("tael.order_id", Value::Text("ord_1".into()))].into();
        let mut second = span(2, Some(1), 2_000, 9_000);
        second.resource = resource("payment");
        second.status = Status::Error("no answer".into());
        second.attributes = [
            attribute("tael.payment_id", Value::Text("pay_1".into())),
            attribute("tael.order_id", Value::Text("ord_1".into())),
            attribute("http.response.status_code", Value::Int(503)),
            attribute("load", Value::Double(f64::NAN)),
        ]
        .into();
        let view = TraceView::new(&trace(vec![second, first]), &[]);
        let Summary { name, duration_ns, spans, errors, services, ids, start_time, .. } = view.summary;
        assert_eq!((name.as_str(), duration_ns, spans, errors), ("1", 8_000, 2, 1));
        assert_eq!(start_time, Timestamp::from_nanosecond(1_000).unwrap());
        assert_eq!(services, ["tael", "payment"]);
        let some = |id: &str| BTreeSet::from([id.to_owned()]);
        assert_eq!(ids, Ids { orders: some("ord_1"), payments: some("pay_1"), ..Ids::default() });

        let [missing, first, second] = &view.rows[..] else { panic!("{:?}", view.rows) };
        assert!(missing.is_missing && missing.offset_ns == 0 && missing.duration_ns == 4_000);
        assert_eq!((first.depth, first.parent_span_id.as_deref()), (1, Some("0000000000000009")));
        assert_eq!((second.depth, second.offset_ns, second.duration_ns), (2, 1_000, 7_000));
        assert_eq!((second.is_error, second.error.as_str()), (true, "no answer"));
        assert_eq!(second.outcome.as_deref(), Some("503"));
        assert_eq!(second.attributes["load"], "NaN");
    }
}
