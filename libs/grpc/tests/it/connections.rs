//! Connections that nobody uses: they may not take the place of those that are.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use futures::future::join_all;
use tael_grpc::client::connect;
use tael_grpc::server::{Limits, Readiness, bind};
use tael_testkit::eventually;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::server::{Server, message};

async fn open(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).await.unwrap()
}

/// Waits until the other end closes, whatever it says before.
async fn closed(mut stream: TcpStream) {
    let mut said = [0; 256];
    while matches!(stream.read(&mut said).await, Ok(1..)) {}
}

/// Says whether the other end has closed by now.
fn is_closed(stream: &TcpStream) -> bool {
    let mut said = [0; 256];
    loop {
        match stream.try_read(&mut said) {
            Ok(1..) => {}
            Ok(0) => return true,
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_given_up_and_one_that_rests_is_not() {
    let server = Server::start(Limits::default(), Readiness::default(), |_| async { Ok(()) }).await;
    let mut client = server.client();
    client.list_consumers(message()).await.unwrap();
    let (silent, began) = (open(server.addr).await, Instant::now());
    timeout(Duration::from_secs(10), closed(silent)).await.expect("it is closed");
    assert!(began.elapsed() > Duration::from_secs(4), "{:?}", began.elapsed());
    client.list_consumers(message()).await.expect("the connection is still there");
}

#[tokio::test]
async fn there_are_no_more_connections_than_the_listener_may_have() {
    let limits = Limits { max_connections: 3, ..Limits::default() };
    let server = Server::start(limits, Readiness::default(), |_| async { Ok(()) }).await;
    let mut client = server.client();
    client.list_consumers(message()).await.unwrap();
    let held = [open(server.addr).await, open(server.addr).await];
    timeout(Duration::from_secs(2), closed(open(server.addr).await)).await.expect("closed at once");
    client.list_consumers(message()).await.expect("who was there is served");
    drop(held);
    eventually("a place for a further client", async || server.client().list_consumers(message()).await.ok())
        .await;
}

#[tokio::test]
async fn idle_connections_to_the_health_port_keep_no_probe_out() {
    const IDLE: usize = 300;
    let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Limits::default()).await.unwrap();
    let (bound, health) = bound.with_health(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let server = Server::serve(bound, Readiness::default(), |_| async { Ok(()) });
    let began = Instant::now();
    let idle = join_all((0..IDLE).map(|_| open(health))).await;

    let probe = connect(&format!("http://{health}")).unwrap();
    let request = HealthCheckRequest { service: String::new() };
    let answer = timeout(Duration::from_secs(2), HealthClient::new(probe).check(request)).await;
    answer.expect("a probe is answered soon").expect("a probe is answered");
    server.client().list_consumers(message()).await.expect("calls have a budget of their own");

    loop {
        let still_open = idle.iter().filter(|stream| !is_closed(stream)).count();
        if still_open <= 32 {
            break;
        }
        // Before they would be closed for saying nothing.
        assert!(began.elapsed() < Duration::from_millis(4500), "{still_open} of {IDLE} are still open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
