//! One replica of a service, and the connection to it.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use http::header::{CONTENT_TYPE, TE};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Version};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_util::either::Either;

use super::body::Message;
use super::target::Target;

/// How long it may take to connect, until the peer has answered for the first time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer that is frozen, or cut off without a word, is given up after this much silence and a ping that stays
/// unanswered for [`PING_TIMEOUT`]; also while no call waits, so that the next one need not find out.
const SILENCE: Duration = Duration::from_secs(3);
const PING_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a replica that could not be connected to is left alone, as long as there is another: first so long, then
/// each time twice as long, up to the last.
const FIRST_REST: Duration = Duration::from_secs(1);
const LAST_REST: Duration = Duration::from_secs(8);

/// Sends calls on one connection. Cheap to clone.
pub(super) type Sender = http2::SendRequest<Message>;

/// The first call on every connection asks how the peer is. It counts that it answers, not what.
const GREETING: &str = "/grpc.health.v1.Health/Check";
/// An empty message, as it stands on the wire: not compressed, no byte long.
const EMPTY_MESSAGE: &[u8] = &[0; 5];

/// A connection that is being made; all who wait for it get the same.
type Connecting = Shared<BoxFuture<'static, Result<Sender, Arc<ConnectError>>>>;

/// Why a replica can't be connected to. Nothing was sent to it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("{0} did not take the connection")]
    Tcp(SocketAddr, #[source] io::Error),
    #[error("{0} and we do not believe each other's certificates")]
    Tls(SocketAddr, #[source] io::Error),
    #[error("{0} broke the connection off, or does not speak HTTP/2")]
    Http(SocketAddr, #[source] hyper::Error),
    #[error("{0} did not answer for two seconds")]
    Timeout(SocketAddr),
}

/// See the module.
pub(super) struct Replica {
    addr: SocketAddr,
    target: Arc<Target>,
    in_flight: AtomicUsize,
    link: Mutex<Link>,
}

struct Link {
    state: State,
    /// How often in a row no connection could be made.
    failures: u32,
    /// When the next may be made although no call depends on it.
    rested: Option<Instant>,
}

enum State {
    Idle,
    Connecting(Connecting),
    Connected(Sender),
}

impl Replica {
    pub(super) fn new(addr: SocketAddr, target: Arc<Target>) -> Self {
        let link = Mutex::new(Link { state: State::Idle, failures: 0, rested: None });
        Self { addr, target, in_flight: AtomicUsize::new(0), link }
    }

    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// How many calls it has not answered yet.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The connection; none when there is none, or when the peer takes no further calls on it.
    pub(super) fn sender(&self) -> Option<Sender> {
        match &self.lock().state {
            State::Connected(sender) if !sender.is_closed() => Some(sender.clone()),
            State::Connected(_) | State::Connecting(_) | State::Idle => None,
        }
    }

    /// Has a connection made, if none is and if the last failure is long enough ago. Nobody waits for it.
    pub(super) fn connect_when_rested(self: &Arc<Self>) {
        let rested = match &*self.lock() {
            Link { state: State::Connecting(_), .. } => false,
            Link { rested, .. } => rested.is_none_or(|at| at <= Instant::now()),
        };
        if rested {
            drop(self.connect());
        }
    }

    /// Makes a connection, or joins those who wait for it. It is made in a task of its own: a caller whose deadline is
    /// near does not spoil it for the others.
    pub(super) fn connect(self: &Arc<Self>) -> Connecting {
        let mut link = self.lock();
        match &link.state {
            State::Connecting(connecting) => return connecting.clone(),
            State::Connected(sender) if !sender.is_closed() => {
                return std::future::ready(Ok(sender.clone())).boxed().shared();
            }
            State::Connected(_) | State::Idle => {}
        }
        let replica = Arc::clone(self);
        let connecting = async move {
            let made = tokio::time::timeout(CONNECT_TIMEOUT, open(replica.addr, &replica.target)).await;
            let made = made.unwrap_or(Err(ConnectError::Timeout(replica.addr)));
            replica.record(made.map_err(Arc::new))
        };
        let connecting = connecting.boxed().shared();
        link.state = State::Connecting(connecting.clone());
        tokio::spawn(connecting.clone());
        connecting
    }

    fn record(&self, made: Result<Sender, Arc<ConnectError>>) -> Result<Sender, Arc<ConnectError>> {
        let mut link = self.lock();
        match &made {
            Ok(sender) => {
                *link = Link { state: State::Connected(sender.clone()), failures: 0, rested: None };
            }
            Err(error) => {
                let rest = (FIRST_REST * 2u32.saturating_pow(link.failures)).min(LAST_REST);
                let failures = link.failures.saturating_add(1);
                *link = Link { state: State::Idle, failures, rested: Some(Instant::now() + rest) };
                tracing::debug!(error = &**error as &dyn Error, ?rest, "a replica can't be connected to");
            }
        }
        made
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().expect("nothing panics under this lock")
    }
}

/// Makes a connection, and has the peer answer on it. Before that, a connection says nothing of a peer: one that is
/// frozen lets its kernel accept, and one that refuses our certificate says so after our side of the handshake has ended
/// (TLS 1.3). Calls would be lost on such a connection, and each new one would attract more.
async fn open(addr: SocketAddr, target: &Target) -> Result<Sender, ConnectError> {
    let tcp = async {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    let stream = tcp.await.map_err(|error| ConnectError::Tcp(addr, error))?;
    let stream = match &target.security {
        None => Either::Left(stream),
        Some(security) => {
            Either::Right(security.connect(stream).await.map_err(|error| ConnectError::Tls(addr, error))?)
        }
    };
    let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(SILENCE)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| ConnectError::Http(addr, error))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%addr, error = &error as &dyn Error, "a connection ended early");
        }
    });
    let greeting = sender.send_request(greeting(target));
    greeting.await.map_err(|error| ConnectError::Http(addr, error))?;
    Ok(sender)
}

fn greeting(target: &Target) -> Request<Message> {
    let mut request = Request::new(Message::new(EMPTY_MESSAGE));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.uri(PathAndQuery::from_static(GREETING));
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, const { HeaderValue::from_static("application/grpc") });
    headers.insert(TE, const { HeaderValue::from_static("trailers") });
    request
}

/// A call in flight, counted until it is dropped.
pub(super) struct InFlight(Arc<Replica>);

impl InFlight {
    pub(super) fn new(replica: &Arc<Replica>) -> Self {
        replica.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(replica))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
