//! Peers that are lost: connections that break, and such that fall silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tael_grpc::client::connect;
use tael_grpc::retry::{Budget, repeat};
use tael_grpc::server::{Limits, Readiness};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tonic::Code;

use crate::server::{Client, Server, message};

/// Stands before a server. While it is frozen nothing passes on the connections there are; new ones are none of that.
struct Link {
    url: String,
    frozen: Arc<AtomicBool>,
}

impl Link {
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (frozen, target) = (Arc::new(AtomicBool::new(false)), server.addr);
        let freezing = frozen.clone();
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                // Made when the link is already frozen, a connection is a new way around what froze.
                let frozen = if freezing.load(Ordering::Relaxed) { Arc::default() } else { freezing.clone() };
                let server = TcpStream::connect(target).await.unwrap();
                let ((from_caller, to_caller), (from_server, to_server)) =
                    (caller.into_split(), server.into_split());
                tokio::spawn(carry(from_caller, to_server, frozen.clone()));
                tokio::spawn(carry(from_server, to_caller, frozen));
            }
        });
        Self { url, frozen }
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, frozen: Arc<AtomicBool>) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if !frozen.load(Ordering::Relaxed) && to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_noticed_long_before_the_deadline() {
    let server = Server::start(Limits::default(), Readiness::default(), |_| async { Ok(()) }).await;
    let link = Link::to(&server).await;
    let client = Client::new(connect(&link.url).unwrap());
    client.clone().list_consumers(message()).await.unwrap();
    link.frozen.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let answer = repeat(&Budget::default(), || {
        let mut client = client.clone();
        async move {
            let mut request = message();
            request.set_timeout(Duration::from_secs(30));
            client.list_consumers(request).await
        }
    })
    .await;
    answer.expect("the connection that fell silent was given up for a new one");
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
}

/// Whatever the transport calls it, a connection that breaks under a call is UNAVAILABLE.
#[tokio::test]
async fn a_connection_that_breaks_under_a_call_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut caller, _) = listener.accept().await.unwrap();
            // The call has come, and then the process is gone.
            let mut some = [0; 64];
            caller.read_exact(&mut some).await.unwrap();
        }
    });
    let broken = Client::new(connect(&url).unwrap()).list_consumers(message()).await.unwrap_err();
    assert_eq!(broken.code(), Code::Unavailable, "{broken:?}");
    let nobody =
        Client::new(connect("http://127.0.0.1:1").unwrap()).list_consumers(message()).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unavailable, "{nobody:?}");
}
