//! What is told of a call: its span, and how long it took.

use std::collections::HashSet;
use std::sync::LazyLock;

use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio::time::Instant;
use tonic::Code;
use tracing::{Span, field};

use crate::status::{code_name, is_fault};

/// The one call that is not told of: a reader's poll of the log, of which each mostly waits and finds nothing.
const POLL: &str = "/tael.event.v1.EventLogService/ReadEvents";

/// What OpenTelemetry calls a method that nobody knows
/// (<https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>). Paths come from outside: they must not make names.
const OTHER: &str = "_OTHER";

/// All methods of Tael, as in `tael.order.v1.OrderService/CreateOrder`.
pub(super) static METHODS: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let descriptors = FileDescriptorSet::decode(tael_proto::FILE_DESCRIPTOR_SET)
        .expect("the descriptors come from the compiler");
    let mut methods = HashSet::new();
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                methods.insert(format!("{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    methods
});

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    tael_telemetry::meter()
        .f64_histogram("rpc.server.call.duration")
        .with_unit("s")
        .with_description("How long calls took, from their header to the end of their answer")
        .with_boundaries(tael_telemetry::CALL_SECONDS.to_vec())
        .build()
});

/// A call to be told of. One that nobody ended was given up by its caller.
#[derive(Debug)]
pub(crate) struct Call {
    span: Span,
    method: &'static str,
    begin: Instant,
    ended: bool,
}

impl Call {
    /// Begins to tell of a call; none of one that is not worth it.
    pub(crate) fn begin(path: &str, headers: &HeaderMap) -> Option<Self> {
        if path == POLL {
            return None;
        }
        let method = METHODS.get(path.trim_start_matches('/')).map_or(OTHER, String::as_str);
        let span = tracing::info_span!(
            "rpc",
            otel.name = method,
            otel.kind = "server",
            otel.status_code = field::Empty,
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.response.status_code = field::Empty,
            tael.caller = field::Empty,
            tael.merchant_id = field::Empty,
            tael.order_id = field::Empty,
            tael.payment_id = field::Empty,
            tael.refund_id = field::Empty,
            tael.channel = field::Empty,
            tael.channel_account_id = field::Empty,
            tael.idempotency_replayed = field::Empty,
        );
        tael_telemetry::follow_headers(&span, headers);
        Some(Self { span, method, begin: Instant::now(), ended: false })
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    /// Tells how the call ended; only the first end counts.
    pub(crate) fn end(&mut self, code: Code) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let name = code_name(code);
        // A span ends for its readers when it is left for the last time, and a stream ends long after its handler.
        let _entered = self.span.enter();
        self.span.record("rpc.response.status_code", name);
        if is_fault(code) {
            self.span.record("otel.status_code", "ERROR");
        }
        DURATION.record(
            self.begin.elapsed().as_secs_f64(),
            &[KeyValue::new("rpc.method", self.method), KeyValue::new("rpc.response.status_code", name)],
        );
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_known_and_nothing_else() {
        for known in ["tael.order.v1.OrderService/CreateOrder", "tael.event.v1.EventLogService/ListConsumers"]
        {
            assert!(METHODS.contains(known), "{known}");
        }
        let call = Call::begin("/tael.order.v1.OrderService/4111111111111111", &HeaderMap::new()).unwrap();
        assert_eq!(call.method, OTHER);
    }

    #[test]
    fn polls_of_the_log_are_not_told_of() {
        assert!(METHODS.contains(POLL.trim_start_matches('/')), "it must be the method's name");
        assert!(Call::begin(POLL, &HeaderMap::new()).is_none());
    }
}
