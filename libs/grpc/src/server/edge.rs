//! The layer around every call: a span that joins the caller's trace, a limit on calls in flight, a deadline.
//!
//! A call has its permit until its answer is sent and all work that it left behind ([`deadline::detach_with_permit`]) has ended.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body as _;
use tael_proto::r#type::v1::ErrorReason;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::Limits;
use super::incoming::Peer;
use crate::observe::{Observed, ObservedBody, READ_EVENTS};
use crate::{deadline, status};

/// How long the message of a refused call is waited for.
const MESSAGE_PATIENCE: Duration = Duration::from_millis(100);

/// Makes [`Edge`]s that share their limits.
#[derive(Clone, Debug)]
pub(crate) struct EdgeLayer {
    max_duration: Duration,
    permits: Arc<Semaphore>,
    reader_permits: Arc<Semaphore>,
}

impl EdgeLayer {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            max_duration: limits.max_duration,
            permits: Arc::new(Semaphore::new(limits.max_in_flight)),
            reader_permits: Arc::new(Semaphore::new(limits.max_log_readers)),
        }
    }
}

impl<S> Layer<S> for EdgeLayer {
    type Service = Edge<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Edge { inner, layer: self.clone() }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Edge<S> {
    inner: S,
    layer: EdgeLayer,
}

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<S> Service<Request<Body>> for Edge<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The clone may not be ready; the one that was polled is.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);

        // Health and reflection: never refused, and kept out of traces.
        if request.uri().path().starts_with("/grpc.") {
            return Box::pin(inner.call(request));
        }
        let call = Observed::taken(request.uri().path(), request.headers());
        let span = call.span();
        if let Some(caller) = request.extensions().get::<Peer>().and_then(|peer| peer.caller) {
            span.record("tael.caller", caller.name());
        }
        let reads_log = request.uri().path() == READ_EVENTS;
        let permits = if reads_log { &self.layer.reader_permits } else { &self.layer.permits };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            return Box::pin(async move {
                drop_message(request.into_body()).await;
                Ok(ObservedBody::wrap(overloaded().into_http::<Body>(), call, ()))
            });
        };
        let permit = Arc::new(permit);
        let limit = self.layer.max_duration;
        let timeout = deadline::from_headers(request.headers()).map_or(limit, |t| t.min(limit));
        let at = Instant::now() + timeout;
        let work = deadline::scope_with_permit(at, permit.clone(), inner.call(request));
        Box::pin(
            async move {
                // Looked at before the work, which a timeout would poll first: nobody waits for it any more.
                let response = if Instant::now() >= at {
                    late()
                } else {
                    match tokio::time::timeout_at(at, work).await {
                        Ok(Ok(response)) => unreadable(&response).unwrap_or(response),
                        Err(_elapsed) => late(),
                    }
                };
                Ok(ObservedBody::wrap(response, call, permit))
            }
            .instrument(span),
        )
    }
}

/// Takes a refused call's message from the connection. HTTP/2 counts small messages that nobody takes, and after some
/// thousands at once cuts the connection off as an attack, with all other calls on it (h2: `too_many_data_frames`).
pub(super) async fn drop_message(mut body: Body) {
    let all = async { while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {} };
    // A message that is still under way is no small one.
    let _ = tokio::time::timeout(MESSAGE_PATIENCE, all).await;
}

fn late() -> Response<Body> {
    Status::deadline_exceeded("the call's deadline passed").into_http()
}

/// What the transport says of a message that it can't decode, or that is too large, is the caller's mistake and is
/// told like any other bad input. (The transport itself calls the one INTERNAL and the other `OUT_OF_RANGE`.)
fn unreadable(response: &Response<Body>) -> Option<Response<Body>> {
    let status = Status::from_header_map(response.headers())?;
    let problem = match status.code() {
        Code::Internal if status.message().starts_with("failed to decode Protobuf message") => {
            "is not a valid message of its type"
        }
        Code::OutOfRange if status.message().contains("decoded message length too large") => {
            "is larger than 4 MiB"
        }
        _ => return None,
    };
    Some(status::invalid_field("request", problem).into_http())
}

fn overloaded() -> Status {
    status::error(
        Code::ResourceExhausted,
        status::SHARED_DOMAIN,
        ErrorReason::Overloaded.as_str_name(),
        "the server has more work than it can take, call again later",
        [],
    )
}
