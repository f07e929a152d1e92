//! W3C Trace Context (<https://www.w3.org/TR/trace-context/>) in and out of headers and stored text.

use std::collections::HashMap;
use std::fmt::Display;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator};
use tracing::{Span, field};
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";

/// The context of the current span as a W3C `traceparent`, to be stored with work that is done later.
///
/// A span of another library, or one below INFO, is in no trace: within it, the current span is the nearest one around it.
/// `None` outside of any trace, and always when tracing is off.
pub fn current_traceparent() -> Option<String> {
    traceparent_of(&Span::current())
}

/// The trace id of the current span, 32 hexadecimal digits: what an operator pastes into the tracing console.
pub fn current_trace_id() -> Option<String> {
    ids(&Span::current().context()).map(|(trace_id, _)| trace_id)
}

/// The ids of the trace and the span of a context.
pub(crate) fn ids(context: &Context) -> Option<(String, String)> {
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| (context.trace_id().to_string(), context.span_id().to_string()))
}

/// The context of `span` as a W3C `traceparent`. `None` when the span is not traced.
///
/// Asking fixes the span's place in its trace: call [`follow`] before, if at all.
pub fn traceparent_of(span: &Span) -> Option<String> {
    traceparent(&span.context())
}

/// Makes `span` a child of the span that `traceparent` denotes, perhaps in another process.
///
/// Call it first of all: the span's place in its trace is fixed, and the call without effect, as soon as somebody asks for
/// its context. [`traceparent_of`] and [`inject`] do, a span that begins within it, and a line that is logged there. Only
/// to enter the span fixes nothing. A malformed `traceparent` has no effect either, as the specification demands; the
/// span then keeps the parent it was created with.
pub fn follow(span: &Span, traceparent: &str) {
    // OpenTelemetry reads from `HashMap<String, String>` as a carrier of headers.
    follow_carrier(span, &HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]));
}

/// Makes `span` a child of the span in the headers of a call from another of our processes. As for [`follow`], call it
/// before anything is done within the span; headers without a well-formed `traceparent` have no effect.
pub fn follow_headers(span: &Span, headers: &HeaderMap) {
    follow_carrier(span, &Headers(headers));
}

/// Links `span` to the span in the headers of a request from outside, whose trace it does not join: otherwise anybody
/// could send all requests into one trace that never ends, or into one that is not exported. Headers without a
/// well-formed `traceparent` have no effect.
pub fn link_headers(span: &Span, headers: &HeaderMap) {
    let other = TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(headers));
    let other = other.span().span_context().clone();
    if other.is_valid() {
        span.add_link(other);
    }
}

/// Writes the context of the current span into the headers of an outgoing call. Without one, headers stay as they are.
pub fn inject(headers: &mut HeaderMap) {
    TraceContextPropagator::new().inject_context(&Span::current().context(), &mut HeadersMut(headers));
}

/// Begins a trace with `span` that is not exported, neither this span nor what is done for it anywhere, as long as samplers
/// heed their callers' decision, as the SDK's does. For what is asked again and again and is the same story each time.
///
/// As for [`follow`], call it before anything is done within the span.
pub fn leave_out(span: &Span) {
    let ids = RandomIdGenerator::default();
    let (trace_id, span_id) = (ids.new_trace_id(), ids.new_span_id());
    let unsampled = SpanContext::new(trace_id, span_id, TraceFlags::NOT_SAMPLED, true, TraceState::default());
    // As in `follow_carrier`.
    let _ = span.set_parent(Context::new().with_remote_span_context(unsampled));
}

/// Links `span` to `other`, which it belongs to without being its child: an event to the batch it was applied in.
///
/// Asking fixes the place of `other` in its trace, as [`traceparent_of`] does.
pub fn link(span: &Span, other: &Span) {
    span.add_link(other.context().span().span_context().clone());
}

/// Records an attribute of the current span that was declared empty when it began: an id as soon as it is known. It is
/// written out only if somebody listens, and does nothing to a span that has no such attribute.
pub fn record(name: &str, value: impl Display) {
    Span::current().record(name, field::display(value));
}

fn follow_carrier(span: &Span, carrier: &dyn Extractor) {
    let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), carrier);
    if parent.span().span_context().is_valid() {
        // An error says that the span is not traced or its place is fixed: both are documented to have no effect.
        let _ = span.set_parent(parent);
    }
}

fn traceparent(context: &Context) -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(context, &mut carrier);
    carrier.remove(TRACEPARENT)
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct HeadersMut<'a>(&'a mut HeaderMap);

impl Injector for HeadersMut<'_> {
    fn set(&mut self, key: &str, value: String) {
        // An empty `tracestate` says nothing, and is what the propagator gives for most spans.
        if value.is_empty() {
            return;
        }
        if let (Ok(name), Ok(value)) = (key.parse::<HeaderName>(), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}
