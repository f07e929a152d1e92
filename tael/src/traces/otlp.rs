//! Spans and metrics as OTLP brings them, made ours.

use std::fmt::Write as _;
use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{self as otlp, ResourceSpans};

use crate::traces::span::{Attributes, Event, Kind, Link, Resource, Span, SpanId, Status, TraceId, Value};

/// The longest text that is kept, in bytes. What is longer ends in an ellipsis.
const LONGEST_TEXT: usize = 8 * 1024;

/// Takes the spans out of a request, and says how many had no valid ids.
pub(super) fn spans(request: ExportTraceServiceRequest) -> (Vec<Span>, usize) {
    let mut refused = 0;
    let mut taken = Vec::new();
    for ResourceSpans { resource, scope_spans, .. } in request.resource_spans {
        let attributes = resource.map(|resource| attributes(resource.attributes)).unwrap_or_default();
        let resource = Arc::new(Resource { attributes });
        for span in scope_spans.into_iter().flat_map(|scope| scope.spans) {
            match self::span(span, &resource) {
                Some(span) => taken.push(span),
                None => refused += 1,
            }
        }
    }
    (taken, refused)
}

fn span(span: otlp::Span, resource: &Arc<Resource>) -> Option<Span> {
    let kind = match SpanKind::try_from(span.kind) {
        Ok(SpanKind::Server) => Kind::Server,
        Ok(SpanKind::Client) => Kind::Client,
        Ok(SpanKind::Producer) => Kind::Producer,
        Ok(SpanKind::Consumer) => Kind::Consumer,
        Ok(SpanKind::Internal | SpanKind::Unspecified) | Err(_) => Kind::Internal,
    };
    let status = span.status.unwrap_or_default();
    let status = match status.code() {
        StatusCode::Unset => Status::Unset,
        StatusCode::Ok => Status::Ok,
        StatusCode::Error => Status::Error(cut(status.message)),
    };
    Some(Span {
        trace_id: TraceId::from_bytes(&span.trace_id)?,
        span_id: SpanId::from_bytes(&span.span_id)?,
        // An absent parent comes as no bytes, from some exporters as zeros.
        parent: SpanId::from_bytes(&span.parent_span_id),
        name: cut(span.name),
        kind,
        start_ns: span.start_time_unix_nano,
        end_ns: span.end_time_unix_nano.max(span.start_time_unix_nano),
        attributes: attributes(span.attributes),
        events: span
            .events
            .into_iter()
            .map(|event| Event {
                time_ns: event.time_unix_nano,
                name: cut(event.name),
                attributes: attributes(event.attributes),
            })
            .collect(),
        links: span
            .links
            .into_iter()
            .filter_map(|link| {
                let trace_id = TraceId::from_bytes(&link.trace_id)?;
                Some(Link { trace_id, span_id: SpanId::from_bytes(&link.span_id)? })
            })
            .collect(),
        status,
        resource: Arc::clone(resource),
    })
}

fn attributes(all: Vec<KeyValue>) -> Attributes {
    all.into_iter().filter_map(|one| Some((cut(one.key), value(one.value?.value?)))).collect()
}

fn value(value: AnyValue) -> Value {
    match value {
        any_value::Value::StringValue(text) => Value::Text(cut(text)),
        any_value::Value::BoolValue(value) => Value::Bool(value),
        any_value::Value::IntValue(value) => Value::Int(value),
        // A place in a table of texts, which only profiles have.
        any_value::Value::StringValueStrindex(value) => Value::Int(value.into()),
        any_value::Value::DoubleValue(value) => Value::Double(value),
        any_value::Value::ArrayValue(list) => {
            Value::List(list.values.into_iter().filter_map(|v| v.value).map(self::value).collect())
        }
        any_value::Value::KvlistValue(map) => Value::Map(attributes(map.values)),
        any_value::Value::BytesValue(bytes) => {
            let mut digits = String::new();
            for byte in bytes.iter().take(LONGEST_TEXT / 2) {
                let _ = write!(digits, "{byte:02x}");
            }
            Value::Text(cut(digits))
        }
    }
}

fn cut(mut text: String) -> Box<str> {
    if text.len() > LONGEST_TEXT {
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        text.push('…');
    }
    text.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::trace::v1::ScopeSpans;

    use super::*;

    fn request(spans: Vec<otlp::Span>) -> ExportTraceServiceRequest {
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }],
        }
    }

    #[test]
    fn spans_without_valid_ids_are_refused_and_the_others_taken() {
        let with =
            |trace_id: Vec<u8>, span_id: Vec<u8>| otlp::Span { trace_id, span_id, ..otlp::Span::default() };
        let (taken, refused) = spans(request(vec![
            with(vec![0; 16], vec![1; 8]),
            with(vec![1; 15], vec![1; 8]),
            with(vec![1; 16], vec![]),
            with(vec![1; 16], vec![2; 8]),
        ]));
        assert_eq!((taken.len(), refused), (1, 3));
        assert_eq!(taken[0].parent, None);
    }

    #[test]
    fn an_end_before_the_start_and_a_text_without_end_are_mended() {
        let (taken, _) = spans(request(vec![otlp::Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            parent_span_id: vec![0; 8],
            name: "茶".repeat(LONGEST_TEXT),
            start_time_unix_nano: 5,
            end_time_unix_nano: 3,
            ..otlp::Span::default()
        }]));
        assert_eq!((taken[0].start_ns, taken[0].end_ns, taken[0].parent), (5, 5, None));
        assert!(taken[0].name.len() <= LONGEST_TEXT + '…'.len_utf8() && taken[0].name.ends_with("茶…"));
    }
}
