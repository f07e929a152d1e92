//! A log line as one JSON object.

use std::error::Error;
use std::fmt;
use std::io::Write as _;
use std::sync::OnceLock;

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::dispatcher::{Dispatch, WeakDispatch};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_opentelemetry::get_otel_context;
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

use crate::context;

/// What OpenTelemetry's own words say of a call belongs to its span; every line within would only repeat it.
const LEFT_TO_SPANS: [&str; 6] = ["otel.", "rpc.", "http.", "db.", "server.", "error."];

/// Says whether a span has a field that is written with the lines within it. The others, many and short, cost nothing
/// where no traces are exported.
pub(crate) fn has_something_to_say(span: &Metadata<'_>) -> bool {
    span.fields().iter().any(|field| is_written(field.name()))
}

fn is_written(field: &str) -> bool {
    !LEFT_TO_SPANS.iter().any(|prefix| field.starts_with(prefix))
}

/// Writes one line per event, with the ids of the trace and the span, and with the fields of all enclosing spans beside
/// its own, so that a search for `tael.payment_id` finds every line written while that payment was worked on.
///
/// It is a layer of its own, beside that of `tracing-subscriber`, because the latter writes the fields of every span as
/// text when it begins, and once more with each field that is recorded later. Most spans see no event at all, so here
/// their fields are kept as values and written when there is a line to be written.
pub(crate) struct JsonLines<W> {
    writer: W,
    /// What the layer is part of, to be asked for ids while an event is being handled: `Span::current` says nothing then.
    dispatch: OnceLock<WeakDispatch>,
}

impl<W> JsonLines<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self { writer, dispatch: OnceLock::new() }
    }

    /// The ids of the trace and the span in which an event happens, if traces are exported.
    fn ids<S: Subscriber>(&self, context: &Context<'_, S>) -> Option<(String, String)> {
        let dispatch = self.dispatch.get()?.upgrade()?;
        context::ids(&get_otel_context(context.current_span().id()?, &dispatch)?)
    }
}

/// What lines say of a span that they were written in.
#[derive(Default)]
struct Kept {
    /// The name by which the span is exported, if it is another than that of its place in the code.
    name: Option<String>,
    fields: Vec<(&'static str, Value)>,
}

#[derive(Serialize)]
struct Line<'a> {
    /// RFC 3339, UTC, microseconds.
    timestamp: String,
    level: &'a str,
    target: &'a str,
    /// The name of the innermost span that has a field to be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    span: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_id: Option<String>,
    /// Absent for an event that consists of fields only.
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    /// Of two fields of one name, the inner one wins.
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        // A subscriber is registered once.
        let _ = self.dispatch.set(dispatch.downgrade());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut kept = Kept::default();
        attributes.record(&mut Values(&mut kept));
        span.extensions_mut().insert(kept);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(kept) = span.extensions_mut().get_mut::<Kept>() {
            values.record(&mut Values(kept));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut written = Written::default();
        let mut span = None;
        for enclosing in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            span = Some(enclosing.name().to_owned());
            if let Some(kept) = enclosing.extensions().get::<Kept>() {
                span = kept.name.clone().or(span);
                let fields = kept.fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
                written.fields.extend(fields);
            }
        }
        event.record(&mut Values(&mut written));

        let mut timestamp = String::new();
        let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
        let (trace_id, span_id) = self.ids(&context).unzip();
        let line = Line {
            timestamp,
            level: event.metadata().level().as_str(),
            target: event.metadata().target(),
            span,
            trace_id,
            span_id,
            message: written.message,
            fields: written.fields,
        };
        if let Ok(mut line) = serde_json::to_vec(&line) {
            line.push(b'\n');
            // In one go, so that lines of several threads do not mix. There is nobody to tell that it failed.
            let _ = self.writer.make_writer_for(event.metadata()).write_all(&line);
        }
    }
}

/// Takes the values of fields, each made only if it is wanted.
trait Take {
    fn take(&mut self, name: &'static str, value: impl FnOnce() -> Value);
}

impl Take for Kept {
    fn take(&mut self, name: &'static str, value: impl FnOnce() -> Value) {
        if is_written(name) {
            // A later value of a field comes after the earlier one, and wins.
            self.fields.push((name, value()));
        } else if name == "otel.name"
            && let Value::String(name) = value()
        {
            self.name = Some(name);
        }
    }
}

/// The fields of an event, apart from its message, and those of its spans.
#[derive(Default)]
struct Written {
    message: String,
    fields: Map<String, Value>,
}

impl Take for Written {
    fn take(&mut self, name: &'static str, value: impl FnOnce() -> Value) {
        match (name, value()) {
            ("message", Value::String(message)) => self.message = message,
            (name, value) => drop(self.fields.insert(name.to_owned(), value)),
        }
    }
}

/// Reads fields as JSON values.
struct Values<'a, T>(&'a mut T);

impl<T: Take> Visit for Values<'_, T> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.take(field.name(), || Value::String(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.take(field.name(), || Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.take(field.name(), || Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.take(field.name(), || Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.take(field.name(), || Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.take(field.name(), || Value::from(value));
    }

    /// The whole chain, because an error of ours does not repeat its source.
    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        self.0.take(field.name(), || {
            let mut chain = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                chain.push_str(": ");
                chain.push_str(&cause.to_string());
                source = cause.source();
            }
            Value::from(chain)
        });
    }
}
