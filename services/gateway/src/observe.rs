//! What is observed of a request: its span, and how long it took.

use std::sync::LazyLock;

use axum::extract::Request;
use http::{Method, StatusCode};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use tokio::time::Instant;
use tracing::{Span, field};

use crate::paths;

/// What stands for a path that leads nowhere.
const NO_ROUTE: &str = "(no route)";

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    tael_telemetry::seconds(
        "http.server.request.duration",
        "How long requests took until their answer was made",
    )
});

/// The span and duration of one request. Named by method and route, never by the path itself: a payment's id in it is what
/// opens its page.
#[derive(Debug)]
pub(crate) struct RequestObservation {
    span: Span,
    method: &'static str,
    route: &'static str,
    begin: Instant,
    ended: bool,
}

impl RequestObservation {
    pub(crate) fn begin(request: &Request, route: Option<&str>) -> Self {
        let method = method(request.method());
        let route = route.and_then(paths::known).unwrap_or(NO_ROUTE);
        let span = tracing::info_span!(
            parent: None,
            "http",
            otel.name = format!("{method} {route}"),
            otel.kind = "server",
            otel.status_code = field::Empty,
            http.request.method = method,
            http.route = route,
            http.response.status_code = field::Empty,
            tael.channel = field::Empty,
            tael.channel_account_id = field::Empty,
            tael.payment_id = field::Empty,
        );
        if route == paths::CHECKOUT_STATE {
            // An open page asks every two seconds, and each time it is the same story.
            tael_telemetry::leave_out(&span);
        } else {
            // The trace is ours: a stranger must not choose which one it is, nor that there is none.
            tael_telemetry::link_headers(&span, request.headers());
        }
        Self { span, method, route, begin: Instant::now(), ended: false }
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    pub(crate) fn end(&mut self, status: StatusCode) {
        self.ended = true;
        self.span.record("http.response.status_code", status.as_u16());
        if status.is_server_error() {
            self.span.record("otel.status_code", "ERROR");
        }
        self.measure(Some(status));
    }

    /// One without a status was given up by its caller.
    fn measure(&self, status: Option<StatusCode>) {
        let mut attributes =
            vec![KeyValue::new("http.request.method", self.method), KeyValue::new("http.route", self.route)];
        attributes.extend(
            status.map(|status| KeyValue::new("http.response.status_code", i64::from(status.as_u16()))),
        );
        DURATION.record(self.begin.elapsed().as_secs_f64(), &attributes);
    }
}

impl Drop for RequestObservation {
    fn drop(&mut self) {
        if !self.ended {
            self.measure(None);
        }
    }
}

/// The methods that are used here; all others count as one
/// (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        _ => "_OTHER",
    }
}
