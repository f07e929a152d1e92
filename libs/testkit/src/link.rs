//! A connection that can fail.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Stands before a server and passes on what is said, until a test lets it fail.
#[derive(Debug)]
pub struct Link {
    addr: SocketAddr,
    /// Where new connections lead.
    server: Arc<Mutex<SocketAddr>>,
    /// How often the link was frozen: a connection that was made before the last time is silent.
    freezes: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl Link {
    /// Makes a link to a server.
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let (freezes, server) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(server)));
        let accepting = tokio::spawn(accept(listener, server.clone(), freezes.clone()));
        Self { addr, server, freezes, accepting }
    }

    /// Returns the address to connect to instead of the server's.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Lets the connections there are fall silent for ever, as when a machine loses its power: nobody is told. New
    /// connections are none of that.
    pub fn freeze(&self) {
        self.freezes.fetch_add(1, Ordering::SeqCst);
    }

    /// Lets new connections lead to another server, as a name does after a failover; those there are stay as they are.
    pub fn turn_to(&self, server: SocketAddr) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    /// Breaks all connections, and refuses new ones.
    pub async fn cut(&mut self) {
        self.accepting.abort();
        drop((&mut self.accepting).await);
    }

    /// Takes new connections again after [`Link::cut`].
    pub async fn restore(&mut self) {
        let listener = TcpListener::bind(self.addr).await.expect("the port is still this link's");
        self.accepting = tokio::spawn(accept(listener, self.server.clone(), self.freezes.clone()));
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, server: Arc<Mutex<SocketAddr>>, freezes: Arc<AtomicUsize>) {
    // Dropped with this task, and all connections with it.
    let mut connections = JoinSet::new();
    while let Ok((caller, _)) = listener.accept().await {
        let addr = *server.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(server) = TcpStream::connect(addr).await else { continue };
        // Either end may wait for the other's last word.
        drop((caller.set_nodelay(true), server.set_nodelay(true)));
        let ((from_caller, to_caller), (from_server, to_server)) = (caller.into_split(), server.into_split());
        connections.spawn(carry(from_caller, to_server, freezes.clone()));
        connections.spawn(carry(from_server, to_caller, freezes.clone()));
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, freezes: Arc<AtomicUsize>) {
    let at_first = freezes.load(Ordering::SeqCst);
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if freezes.load(Ordering::SeqCst) == at_first && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    if freezes.load(Ordering::SeqCst) != at_first {
        // Nobody is told that this end is gone either.
        std::future::pending::<()>().await;
    }
}
