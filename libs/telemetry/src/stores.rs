//! The spans of calls to PostgreSQL and Redis.
//!
//! Their names say it: `db.<aggregate>.<verb>` is a call, or some in a row, of PostgreSQL, `redis.<what>.<verb>` one of
//! Redis. So a function that makes such a call states its span's name and no more, and what OpenTelemetry wants to
//! be told of every one, the kind and the system, is added where it costs the caller nothing: on the way out.

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

/// The value of `db.system.name` for the span of this name; none if it is no call of a store.
fn system(name: &str) -> Option<&'static str> {
    match name.split_once('.')?.0 {
        "db" => Some("postgresql"),
        "redis" => Some("redis"),
        _ => None,
    }
}

/// Completes the spans of calls to stores and hands all on to another exporter.
#[derive(Debug)]
pub(crate) struct Exporter<E>(pub(crate) E);

impl<E: SpanExporter> SpanExporter for Exporter<E> {
    fn export(&self, mut batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        for span in &mut batch {
            if let Some(system) = system(&span.name) {
                span.span_kind = SpanKind::Client;
                span.attributes.push(KeyValue::new("db.system.name", system));
            }
        }
        self.0.export(batch)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}
