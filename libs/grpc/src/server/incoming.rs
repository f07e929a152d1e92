//! Connections, as they come: accepted, and with TLS brought to the point where it is known who is there.

use std::convert::Infallible;
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
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::caller::Caller;
use crate::tls::{Identity, caller_of};

/// So many peers may be in their handshakes at once; further ones wait to be accepted. One that is slow holds up nobody.
const MAX_HANDSHAKES: usize = 256;
/// How long a peer has for its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long those have who shake hands when the server ends. Only after them does it tell all others to go elsewhere.
const LAST_HANDSHAKES: Duration = Duration::from_secs(1);
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
}

/// Accepts connections until `stop` is cancelled; then those that came before are handed out, new ones are refused, and
/// the stream ends. With an identity they speak TLS, and the peers have shown certificates of our authority.
pub(crate) fn incoming(
    listener: TcpListener,
    identity: Option<Identity>,
    stop: CancellationToken,
) -> impl Stream<Item = Result<Connection, Infallible>> {
    let (connections, mut accepted) = mpsc::channel(1);
    tokio::spawn(accept(listener, identity, stop, connections));
    futures::stream::poll_fn(move |cx| accepted.poll_recv(cx).map(|connection| connection.map(Ok)))
}

async fn accept(
    listener: TcpListener,
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
        match &identity {
            None => drop(connections.send(Connection::plain(stream)).await),
            Some(identity) => {
                let shaking = handshake(identity.clone(), stream, addr, connections.clone());
                handshakes.spawn(shaking.map(|()| drop(permit)));
            }
        }
    }
    // Who connected a moment ago is told by the server that it is going away, instead of being cut off: it may have sent
    // a call, and would not know whether that was begun.
    while let Some(Ok((stream, addr))) = accept_from(&listener).now_or_never() {
        match &identity {
            None => drop(connections.send(Connection::plain(stream)).await),
            Some(identity) => {
                handshakes.spawn(handshake(identity.clone(), stream, addr, connections.clone()));
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
    connections: mpsc::Sender<Connection>,
) {
    let acceptor = TlsAcceptor::from(identity.server_config());
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => drop(connections.send(Connection::secure(stream)).await),
        Ok(Err(error)) => tracing::warn!(%addr, %error, "a peer failed to show who it is"),
        Err(_elapsed) => tracing::warn!(%addr, "a peer did not end its handshake"),
    }
}

impl Connection {
    fn plain(stream: TcpStream) -> Self {
        Self { stream: Either::Left(stream), peer: Peer { caller: None } }
    }

    fn secure(stream: TlsStream<TcpStream>) -> Self {
        let certificates = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let caller = certificates.first().and_then(caller_of);
        Self { stream: Either::Right(stream), peer: Peer { caller } }
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
        Pin::new(&mut self.stream).poll_read(cx, buf)
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
