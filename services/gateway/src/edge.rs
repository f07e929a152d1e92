//! What stands around every request: a span that begins a trace, a limit on requests in flight, a
//! deadline, and headers that keep browsers on the safe side.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderValue, StatusCode};
use tael_grpc::deadline;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::Instrument as _;

use crate::config::Limits;
use crate::observe::RequestObservation;

/// Set on every answer that does not say something else.
const HEADERS: [(http::HeaderName, HeaderValue); 5] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// What all requests share.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    permits: Arc<Semaphore>,
    timeout: Duration,
}

impl Edge {
    pub(crate) fn new(limits: Limits) -> Self {
        let permits = Arc::new(Semaphore::new(limits.max_in_flight.get() as usize));
        Self { permits, timeout: limits.request_timeout }
    }
}

/// Runs a request within the edge.
pub(crate) async fn around(
    State(edge): State<Edge>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let mut observation = RequestObservation::begin(&request, route.as_ref().map(MatchedPath::as_str));
    let span = observation.span();
    let mut response = edge.admit(request, next).instrument(span).await;
    observation.end(response.status());
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(value);
    }
    response
}

impl Edge {
    async fn admit(&self, request: Request, next: Next) -> Response {
        let Ok(_permit) = self.permits.try_acquire() else {
            return try_again("more requests than can be taken, try again\n");
        };
        let at = Instant::now() + self.timeout;
        match tokio::time::timeout_at(at, deadline::scope(at, next.run(request))).await {
            Ok(response) => response,
            Err(_elapsed) => try_again("took too long, try again\n"),
        }
    }
}

fn try_again(text: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], text).into_response()
}
