//! Channels to other services: calls that carry trace and deadline on and are spread over a service's replicas.
//!
//! Every call goes to the less busy of two replicas taken at random (`balance`), so that one HTTP/2 connection, which
//! is kept for hours, does not tie a caller to one replica. Host names are looked up again and again (`resolve`): with a
//! headless Service in Kubernetes each replica is an address. A replica that can't be connected to, or does not answer
//! on a new connection, is left alone for a moment while there is another. A call that certainly was not begun is sent
//! to the next one, which the caller does not notice: so a replica may drain and end at any time. What may have been
//! begun is not repeated here but by [`repeat`](crate::retry::repeat), where the caller says that it may be.
//!
//! tonic's own `balance_channel` was not used: without an endpoint it waits for ever, and an endpoint that can't be
//! connected to counts as ready, so that it goes on getting its share of the calls and fails each.

mod balance;
pub(crate) mod body;
mod replica;
mod resolve;
mod target;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::USER_AGENT;
use http::{HeaderValue, Request, Response};
pub use resolve::Resolver;
pub use target::InvalidUrl;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::Service;

use self::balance::Replicas;
use self::body::{Answer, Message};
use crate::deadline;
use crate::observe::{Observed, ObservedBody};
use crate::tls::Identity;

/// How long a call may take when the caller has no nearer deadline.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// Makes a channel without TLS. It connects when it is first used and again whenever a connection is lost.
///
/// Several URLs are separated by commas. A replica that can't be reached, or is lost under a call, is UNAVAILABLE; so
/// is one that does not answer pings, after five seconds, a name without addresses, at once, and a name that was never
/// found, after five seconds.
pub fn connect(urls: &str) -> Result<Channel, InvalidUrl> {
    Connector::default().connect(urls)
}

/// Makes channels. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Connector {
    identity: Option<Identity>,
    resolver: Resolver,
}

impl Connector {
    /// With an identity, peers whose URL begins with `https://` are called with mutual TLS: their certificate must be
    /// for the URL's host.
    pub fn new(identity: Option<Identity>) -> Self {
        Self { identity, ..Self::default() }
    }

    /// Looks host names up by `resolver` instead of the system's.
    #[must_use]
    pub fn resolving(self, resolver: Resolver) -> Self {
        Self { resolver, ..self }
    }

    /// Makes a channel, as [`connect`] does.
    pub fn connect(&self, urls: &str) -> Result<Channel, InvalidUrl> {
        let targets = target::parse(urls, self.identity.as_ref())?;
        Ok(Channel(Replicas::new(targets, self.resolver.clone())))
    }
}

/// A channel to another service: generated clients are built on it with `XClient::new(channel)`. Cheap to clone; clones
/// share the connections. A call is sent when its request is whole: a stream of requests is answered after its end.
#[derive(Clone)]
pub struct Channel(Arc<Replicas>);

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel").field(&self.0.name()).finish()
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let replicas = Arc::clone(&self.0);
        let (mut head, body) = request.into_parts();
        let timeout = deadline::from_headers(&head.headers).unwrap_or(DEFAULT_TIMEOUT);
        let at = Instant::now() + deadline::remaining(timeout);
        head.headers.insert(USER_AGENT, const { HeaderValue::from_static("tael") });
        let mut call = Observed::made(head.uri.path(), replicas.name(), &mut head.headers);
        Box::pin(async move {
            let sent = tokio::time::timeout_at(at, async {
                replicas.send(head, Message::read(body).await?, at).await
            });
            match sent.await.unwrap_or_else(|_elapsed| Err(late())) {
                Ok((answer, in_flight)) => {
                    let answer = answer.map(|incoming| Answer::new(incoming, at));
                    Ok(ObservedBody::wrap(answer, call, in_flight))
                }
                Err(status) => {
                    call.end(status.code());
                    Err(status)
                }
            }
        })
    }
}

fn late() -> Status {
    Status::deadline_exceeded("no answer came before the call's deadline")
}

/// The transport tells of a connection that broke under a call in many ways; gRPC's word for all of them is UNAVAILABLE.
fn broken(error: Arc<dyn Error + Send + Sync>) -> Status {
    let mut status = Status::unavailable("the connection could not be made, or broke");
    status.set_source(error);
    status
}
