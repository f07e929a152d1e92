//! Peers that are lost: connections that break, and such that fall silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tael_grpc::client::connect;
use tael_grpc::retry::{Budget, repeat};
use tael_grpc::server::{Limits, Readiness};
use tael_testkit::Link;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::Code;

use crate::server::{Client, Server, message};

#[tokio::test]
async fn a_peer_that_falls_silent_is_noticed_long_before_the_deadline() {
    let server = Server::start(Limits::default(), Readiness::default(), |_| async { Ok(()) }).await;
    let link = Link::to(server.addr).await;
    let client = Client::new(connect(&format!("http://{}", link.addr())).unwrap());
    client.clone().list_consumers(message()).await.unwrap();
    link.freeze();
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

/// A peer that takes every call and answers none, but says why.
async fn resetting(reason: h2::Reason) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (caller, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(caller).await.unwrap();
                while let Some(Ok((_, mut answer))) = connection.accept().await {
                    answer.send_reset(reason);
                }
            });
        }
    });
    addr
}

#[tokio::test]
async fn a_call_that_a_peer_refused_to_begin_goes_to_another() {
    let refusing = resetting(h2::Reason::REFUSED_STREAM).await;
    let server = Server::start(Limits::default(), Readiness::default(), |_| async { Ok(()) }).await;
    let client = Client::new(connect(&format!("http://{refusing},http://{}", server.addr)).unwrap());
    for _ in 0..50 {
        client.clone().list_consumers(message()).await.unwrap();
    }
    // When nobody takes it, that is told.
    let refused =
        Client::new(connect(&format!("http://{refusing}")).unwrap()).list_consumers(message()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_call_that_a_peer_may_have_begun_goes_to_no_other() {
    let failing = resetting(h2::Reason::INTERNAL_ERROR).await;
    let mut client = Client::new(connect(&format!("http://{failing}")).unwrap());
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let server = Server::start(Limits::default(), Readiness::default(), move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    })
    .await;
    assert_eq!(client.list_consumers(message()).await.unwrap_err().code(), Code::Unavailable);
    let mut client = Client::new(connect(&format!("http://{failing},http://{}", server.addr)).unwrap());
    let mut succeeded = 0;
    for _ in 0..50 {
        succeeded += usize::from(client.list_consumers(message()).await.is_ok());
    }
    assert_eq!(succeeded, calls.load(Ordering::Relaxed));
    assert!(succeeded < 50, "both were called");
}
