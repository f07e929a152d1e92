//! What is told of a call: its span and its measure.

use std::sync::LazyLock;

use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use tokio::time::Instant;
use tonic::Code;
use tracing::{Span, field};

use crate::status;

/// How long calls took, by method and status
/// (<https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/>).
static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    tael_telemetry::meter()
        .f64_histogram("rpc.client.call.duration")
        .with_unit("s")
        .with_description("How long calls to other services took")
        .with_boundaries(tael_telemetry::CALL_SECONDS.to_vec())
        .build()
});

/// A call while it is watched. It is told once; a call that is dropped before its end was cancelled.
pub(super) struct Observed(Option<Call>);

struct Call {
    span: Span,
    method: String,
    began: Instant,
}

impl Observed {
    /// Begins to watch a call, unless it is one of those that come all the time and say nothing: health, and polls of
    /// the log.
    pub(super) fn begin(path: &str, host: &str) -> Self {
        let method = path.trim_start_matches('/');
        if method.starts_with("grpc.") || method.ends_with("EventLogService/ReadEvents") {
            return Self(None);
        }
        let span = tracing::info_span!(
            "rpc.client",
            otel.name = method,
            otel.kind = "client",
            otel.status_code = field::Empty,
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.response.status_code = field::Empty,
            server.address = host,
        );
        Self(Some(Call { span, method: method.to_owned(), began: Instant::now() }))
    }

    /// Writes the trace context of the call, or of what it is part of, into its headers.
    pub(super) fn inject(&self, headers: &mut HeaderMap) {
        match &self.0 {
            Some(call) => call.span.in_scope(|| tael_telemetry::inject(headers)),
            None => tael_telemetry::inject(headers),
        }
    }

    pub(super) fn finish(&mut self, code: Code) {
        let Some(Call { span, method, began }) = self.0.take() else { return };
        let code_name = status::code_name(code);
        // A span that was entered before is told to have ended when it was left last.
        let _entered = span.enter();
        span.record("rpc.response.status_code", code_name);
        if status::is_fault(code) {
            span.record("otel.status_code", "ERROR");
        }
        let attributes =
            [KeyValue::new("rpc.method", method), KeyValue::new("rpc.response.status_code", code_name)];
        DURATION.record(began.elapsed().as_secs_f64(), &attributes);
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.finish(Code::Cancelled);
    }
}
