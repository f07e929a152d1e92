//! What is told of a call, by who takes it and by who makes it: its span, and how long it took.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Frame, SizeHint};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tracing::{Span, field};

use crate::status::{code_name, is_fault};

/// A reader's poll of an event log. It is the one call that is not told of: most of them wait and find nothing.
pub(crate) const READ_EVENTS: &str = "/tael.event.v1.EventLogService/ReadEvents";

/// What OpenTelemetry calls a method that nobody knows
/// (<https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>). Paths come from outside: they must not make names.
const OTHER: &str = "_OTHER";

/// All methods of Tael, as in `tael.order.v1.OrderService/CreateOrder`.
pub(crate) static METHODS: LazyLock<HashSet<String>> = LazyLock::new(|| {
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

// <https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/>
static TAKEN: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    tael_telemetry::seconds(
        "rpc.server.call.duration",
        "How long calls took, from their header to the end of their answer",
    )
});
static MADE: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    tael_telemetry::seconds("rpc.client.call.duration", "How long calls to other services took")
});

/// Whether a call is told of: neither the health and reflection of whoever asks all the time, nor polls.
fn is_told(path: &str) -> bool {
    path != READ_EVENTS && !path.starts_with("/grpc.")
}

/// A call to be told of, or one that is not told of. One that nobody ended was given up by its caller.
#[derive(Debug)]
pub(crate) struct Observed(Option<Call>);

#[derive(Debug)]
struct Call {
    span: Span,
    method: &'static str,
    began: Instant,
    duration: &'static Histogram<f64>,
}

impl Observed {
    /// Begins to tell of a call that is taken.
    pub(crate) fn taken(path: &str, headers: &HeaderMap) -> Self {
        if !is_told(path) {
            return Self(None);
        }
        let method = method(path);
        let span = tracing::info_span!(
            "rpc",
            otel.name = method,
            otel.kind = "server",
            otel.status_code = field::Empty,
            rpc.system.name = "grpc",
            rpc.method = method,
            rpc.response.status_code = field::Empty,
            tael.caller = field::Empty,
            tael.principal = field::Empty,
            tael.merchant_id = field::Empty,
            tael.order_id = field::Empty,
            tael.payment_id = field::Empty,
            tael.refund_id = field::Empty,
            tael.channel = field::Empty,
            tael.channel_account_id = field::Empty,
            tael.idempotency_replayed = field::Empty,
        );
        tael_telemetry::follow_headers(&span, headers);
        Self(Some(Call { span, method, began: Instant::now(), duration: &TAKEN }))
    }

    /// Begins to tell of a call that is made, and writes the trace context of the call, or of what it is part of, into
    /// its headers.
    pub(crate) fn made(path: &str, host: &str, headers: &mut HeaderMap) -> Self {
        if !is_told(path) {
            tael_telemetry::inject(headers);
            return Self(None);
        }
        let method = method(path);
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
        span.in_scope(|| tael_telemetry::inject(headers));
        Self(Some(Call { span, method, began: Instant::now(), duration: &MADE }))
    }

    /// The call's span; a disabled one when it is not told of.
    pub(crate) fn span(&self) -> Span {
        self.0.as_ref().map_or_else(Span::none, |call| call.span.clone())
    }

    /// Tells how the call ended; only the first end counts.
    pub(crate) fn end(&mut self, code: Code) {
        let Some(Call { span, method, began, duration }) = self.0.take() else { return };
        let name = code_name(code);
        // A span ends for its readers when it is left for the last time, and an answer ends long after that.
        let _entered = span.enter();
        span.record("rpc.response.status_code", name);
        if is_fault(code) {
            span.record("otel.status_code", "ERROR");
        }
        let attributes =
            [KeyValue::new("rpc.method", method), KeyValue::new("rpc.response.status_code", name)];
        duration.record(began.elapsed().as_secs_f64(), &attributes);
    }

    /// Ends the call if its headers, or its trailers, say how.
    fn end_if_said(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get("grpc-status") {
            self.end(Code::from_bytes(status.as_bytes()));
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

fn method(path: &str) -> &'static str {
    METHODS.get(path.trim_start_matches('/')).map_or(OTHER, String::as_str)
}

/// The body of an answer: keeps what the call holds until its last message, and tells how the call ended.
pub(crate) struct ObservedBody<B, H> {
    body: B,
    call: Observed,
    _held: H,
}

impl<B, H> ObservedBody<B, H>
where
    B: http_body::Body<Data = Bytes, Error = Status> + Unpin + Send + 'static,
    H: Unpin + Send + 'static,
{
    /// Wraps the body of an answer.
    pub(crate) fn wrap(answer: Response<B>, mut call: Observed, held: H) -> Response<Body> {
        // A refusal has its status here and no message.
        call.end_if_said(answer.headers());
        answer.map(|body| Body::new(Self { body, call, _held: held }))
    }
}

impl<B, H> http_body::Body for ObservedBody<B, H>
where
    B: http_body::Body<Data = Bytes, Error = Status> + Unpin,
    H: Unpin,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.call.end_if_said(trailers);
                }
            }
            Some(Err(status)) => self.call.end(status.code()),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_known_and_nothing_else() {
        for known in ["tael.order.v1.OrderService/CreateOrder", "tael.event.v1.EventLogService/ListConsumers"]
        {
            assert_eq!(method(&format!("/{known}")), known);
        }
        assert_eq!(method("/tael.order.v1.OrderService/4111111111111111"), OTHER);
    }

    #[test]
    fn polls_of_the_log_are_not_told_of() {
        assert!(METHODS.contains(READ_EVENTS.trim_start_matches('/')), "it must be the method's name");
        assert!(!is_told(READ_EVENTS));
    }
}
