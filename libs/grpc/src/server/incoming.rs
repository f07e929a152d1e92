//! Connections, as they come: accepted, and with TLS brought to the point where it is known who is there.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{FutureExt as _, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::{CancellationToken, DropGuard, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

use crate::caller::Caller;
use crate::tls::{Identity, caller_of};

/// So many peers may be in their handshakes at once; further ones wait to be accepted. One that is slow holds up nobody.
const MAX_HANDSHAKES: usize = 256;
/// How long a peer has for its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long those have who shake hands when the server ends. Only after them does it tell all others to go elsewhere.
const LAST_HANDSHAKES: Duration = Duration::from_secs(1);
/// How long a peer has, after it connected and shook hands, to begin to speak HTTP/2.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);
/// What it has to say for that (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;
/// So many connections for health alone may be open; for a further one the oldest is closed. Who probes needs his for
/// a moment, so what is old is none of theirs, and nobody keeps them out by coming first.
const MAX_PROBES: usize = 32;
/// How long to wait after an accept failed, which happens when the process has too many open files.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// Who is at the other end. It is found in the extensions of each request.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    /// Whom the certificate names; none without TLS, and when it names nobody we know.
    pub(crate) caller: Option<Caller>,
}

/// A connection that can be served.
pub(crate) struct Connection {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    peer: Peer,
    /// Until when the peer must have said so many more bytes; none when it has.
    preface: Option<(Pin<Box<Sleep>>, usize)>,
    /// When it is to be closed for another one; never for those that are counted.
    end: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    _place: Place,
}

/// What a connection takes of its listener's budget, until it is closed.
#[expect(dead_code, reason = "held, and dropped with the connection")]
enum Place {
    /// One of the permits.
    Counted(OwnedSemaphorePermit),
    /// Its entry among the probes.
    Probe(DropGuard),
}

/// Accepts connections until `stop` is cancelled; then those that came before are handed out, new ones are refused, and
/// the stream ends. With an identity they speak TLS, and the peers have shown certificates of our authority.
pub(crate) fn incoming(
    listener: TcpListener,
    max_connections: usize,
    identity: Option<Identity>,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Connection, Infallible>> {
    let (connections, mut accepted) = mpsc::channel(1);
    let budget = Budget { permits: Arc::new(Semaphore::new(max_connections)), is_spent: false };
    tokio::spawn(accept(listener, budget, identity, stop, connections));
    futures::stream::poll_fn(move |cx| accepted.poll_recv(cx).map(|connection| connection.map(Ok)))
}

/// Accepts those who ask for health.
pub(crate) fn probes(listener: TcpListener) -> impl Stream<Item = Result<Connection, Infallible>> {
    futures::stream::unfold((listener, VecDeque::new()), |(listener, mut open)| async move {
        let stream = loop {
            match accept_from(&listener).await {
                Ok((stream, _)) => break stream,
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection for health");
                    tokio::time::sleep(ACCEPT_BACKOFF).await;
                }
            }
        };
        open.retain(|open: &CancellationToken| !open.is_cancelled());
        if open.len() >= MAX_PROBES
            && let Some(oldest) = open.pop_front()
        {
            oldest.cancel();
        }
        let life = CancellationToken::new();
        open.push_back(life.clone());
        let connection = Connection {
            end: Some(Box::pin(life.clone().cancelled_owned())),
            ..Connection::plain(stream, Place::Probe(life.drop_guard()))
        };
        Some((Ok(connection), (listener, open)))
    })
}

/// How many connections may still come.
struct Budget {
    permits: Arc<Semaphore>,
    /// Whether the last one found no place; told once.
    is_spent: bool,
}

impl Budget {
    /// A place for a connection; none when there are too many, and then it is to be closed.
    fn place(&mut self) -> Option<Place> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok();
        if permit.is_none() && !self.is_spent {
            tracing::warn!("there are too many connections, further ones are closed");
        }
        self.is_spent = permit.is_none();
        permit.map(Place::Counted)
    }
}

async fn accept(
    listener: TcpListener,
    mut budget: Budget,
    identity: Option<Identity>,
    stop: CancellationToken,
    connections: mpsc::Sender<Connection>,
) {
    let permits = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            // The server is gone.
            () = connections.closed() => return,
            accepted = accept_one(&listener, &permits) => accepted,
        };
        let (stream, addr, permit) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let Some(place) = budget.place() else { continue };
        match &identity {
            None => drop(connections.send(Connection::plain(stream, place)).await),
            Some(identity) => {
                let shaking = handshake(identity.clone(), stream, addr, place, connections.clone());
                handshakes.spawn(shaking.map(|()| drop(permit)));
            }
        }
    }
    // Who connected a moment ago is told by the server that it is going away, instead of being cut off: it may have sent
    // a call, and would not know whether that was begun.
    while let Some(Ok((stream, addr))) = accept_from(&listener).now_or_never() {
        let Some(place) = budget.place() else { continue };
        match &identity {
            None => drop(connections.send(Connection::plain(stream, place)).await),
            Some(identity) => {
                handshakes.spawn(handshake(identity.clone(), stream, addr, place, connections.clone()));
            }
        }
    }
    drop(listener);
    let all = async { while handshakes.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_HANDSHAKES, all).await;
}

async fn accept_one(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(permits).acquire_owned().await.expect("the semaphore is never closed");
    let (stream, addr) = accept_from(listener).await?;
    Ok((stream, addr, permit))
}

async fn accept_from(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, addr) = listener.accept().await?;
    // Answers are small: with Nagle's algorithm each would wait 40 ms for the caller's acknowledgement.
    stream.set_nodelay(true)?;
    Ok((stream, addr))
}

async fn handshake(
    identity: Identity,
    stream: TcpStream,
    addr: SocketAddr,
    place: Place,
    connections: mpsc::Sender<Connection>,
) {
    let acceptor = TlsAcceptor::from(identity.server_config());
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => drop(connections.send(Connection::secure(stream, place)).await),
        Ok(Err(error)) => tracing::warn!(%addr, %error, "a peer failed to show who it is"),
        Err(_elapsed) => tracing::warn!(%addr, "a peer did not end its handshake"),
    }
}

impl Connection {
    fn plain(stream: TcpStream, place: Place) -> Self {
        Self::new(Either::Left(stream), Peer { caller: None }, place)
    }

    fn secure(stream: TlsStream<TcpStream>, place: Place) -> Self {
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let caller = certificates.first().and_then(caller_of);
        Self::new(Either::Right(stream), Peer { caller }, place)
    }

    fn new(stream: Either<TcpStream, TlsStream<TcpStream>>, peer: Peer, place: Place) -> Self {
        let preface = Some((Box::pin(tokio::time::sleep(PREFACE_TIMEOUT)), PREFACE_BYTES));
        Self { stream, peer, preface, end: None, _place: place }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready()) {
            // As if the peer had ended it.
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let Some((limit, missing)) = &mut self.preface else { return read };
        *missing = missing.saturating_sub(buf.filled().len() - before);
        if *missing == 0 {
            self.preface = None;
        } else if read.is_pending() && limit.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
