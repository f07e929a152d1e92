//! Peers that are lost: connections that break, and such that fall silent.

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
