//! Peers that are lost: connections that break, and such that fall silent.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use http::Response;
use tael_grpc::client::connect;
use tael_grpc::retry::{Budget, repeat};
use tael_grpc::server::{Limits, Readiness};
use tael_testkit::Link;
use tokio::net::{TcpListener, TcpStream};
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
    let breaking = peer(|connection, _answer| connection.abrupt_shutdown(h2::Reason::NO_ERROR)).await;
    let url = format!("http://{breaking}");
    let broken = Client::new(connect(&url).unwrap()).list_consumers(message()).await.unwrap_err();
    assert_eq!(broken.code(), Code::Unavailable, "{broken:?}");
    let nobody =
        Client::new(connect("http://127.0.0.1:1").unwrap()).list_consumers(message()).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unavailable, "{nobody:?}");
}

/// A replica that accepts connections and says nothing on them, as one that is stopped or hangs: its kernel accepts.
#[tokio::test]
async fn a_replica_that_was_never_heard_gets_no_call() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::start(Limits::default(), Readiness::default(), |_| async { Ok(()) }).await;
    let urls = format!("http://{},http://{}", silent.local_addr().unwrap(), server.addr);
    let client = Client::new(connect(&urls).unwrap());
    let began = Instant::now();
    // For longer than it takes to give the connection up and to make another.
    while began.elapsed() < Duration::from_millis(3500) {
        let mut request = message();
        request.set_timeout(Duration::from_secs(1));
        client.clone().list_consumers(request).await.unwrap();
    }
}

type Connection = h2::server::Connection<TcpStream, Bytes>;

/// A peer that says how it is, and does with all other calls what a test says.
async fn peer(treat: fn(&mut Connection, SendResponse<Bytes>)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (caller, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(caller).await.unwrap();
                while let Some(Ok((request, mut answer))) = connection.accept().await {
                    if request.uri().path() == "/grpc.health.v1.Health/Check" {
                        answer.send_response(Response::new(()), true).unwrap();
                    } else {
                        treat(&mut connection, answer);
                    }
                }
            });
        }
    });
    addr
}

#[tokio::test]
async fn a_call_that_a_peer_refused_to_begin_goes_to_another() {
    let refusing = peer(|_, mut answer| answer.send_reset(h2::Reason::REFUSED_STREAM)).await;
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
    let failing = peer(|_, mut answer| answer.send_reset(h2::Reason::INTERNAL_ERROR)).await;
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
