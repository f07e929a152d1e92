use std::num::NonZeroU32;
use std::time::Duration;

use tael_gateway::Limits;
use tael_ids::ChannelAccountId;
use tael_testkit::eventually;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::{Fixture, header};

fn path() -> String {
    format!("/callbacks/alipay/{}", ChannelAccountId::new())
}

#[tokio::test]
async fn more_than_can_be_taken_is_refused_at_once_and_health_is_not() {
    let limits = Limits { max_in_flight: NonZeroU32::MIN, ..Limits::default() };
    let fixture = Fixture::with(limits).await;
    fixture.payment.script.answer(200, "text/plain", b"success");
    let held = fixture.payment.script.places.acquire_many(100).await.unwrap();
    let first = tokio::spawn(fixture.post(&path()).body("a=1").send());
    eventually("the first to be in flight", async || fixture.payment.script.notifications().pop()).await;

    let refused = fixture.post(&path()).body("a=1").send().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(header(&refused, "retry-after"), "1");
    assert_eq!(fixture.get("/healthz").send().await.unwrap().status(), 200);

    drop(held);
    assert_eq!(first.await.unwrap().unwrap().status(), 200);
    assert_eq!(
        fixture.post(&path()).body("a=1").send().await.unwrap().status(),
        200,
        "the place is free again"
    );
}

#[tokio::test]
async fn what_takes_too_long_is_to_be_tried_again() {
    let limits = Limits { request_timeout: Duration::from_millis(100), ..Limits::default() };
    let fixture = Fixture::with(limits).await;
    let _held = fixture.payment.script.places.acquire_many(100).await.unwrap();
    assert_eq!(fixture.post(&path()).body("a=1").send().await.unwrap().status(), 503);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let limits = Limits { request_timeout: Duration::from_millis(100), ..Limits::default() };
    let fixture = Fixture::with(limits).await;
    let mut stream = TcpStream::connect(fixture.gateway.addr).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf", path());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503");
    assert!(fixture.payment.script.notifications().is_empty());
}

#[tokio::test]
async fn a_header_that_does_not_come_is_not_waited_for() {
    let limits = Limits { header_timeout: Duration::from_millis(100), ..Limits::default() };
    let fixture = Fixture::with(limits).await;
    let mut slow = TcpStream::connect(fixture.gateway.addr).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost:").await.unwrap();
    let mut silent = TcpStream::connect(fixture.gateway.addr).await.unwrap();
    for stream in [&mut slow, &mut silent] {
        // Ends only because the gateway closes the connection.
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    let limits = Limits { max_connections: NonZeroU32::MIN, ..Limits::default() };
    let fixture = Fixture::with(limits).await;
    let mut first = TcpStream::connect(fixture.gateway.addr).await.unwrap();
    first.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    first.read_exact(&mut [0; 12]).await.unwrap();

    let mut second = TcpStream::connect(fixture.gateway.addr).await.unwrap();
    second.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    let early = tokio::time::timeout(Duration::from_millis(100), second.read(&mut answer)).await;
    assert!(early.is_err(), "served although there is no place");
    drop(first);
    second.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn a_request_in_flight_is_answered_before_the_end() {
    let fixture = Fixture::start().await;
    fixture.payment.script.answer(200, "text/plain", b"success");
    fixture.payment.script.places.acquire_many(100).await.unwrap().forget();
    let in_flight = tokio::spawn(fixture.post(&path()).body("a=1").send());
    eventually("the request to be in flight", async || fixture.payment.script.notifications().pop()).await;

    let Fixture { payment, gateway, .. } = fixture;
    let addr = gateway.addr;
    let stopping = tokio::spawn(gateway.stop());
    eventually("new connections to be refused", async || TcpStream::connect(addr).await.err()).await;
    assert!(!stopping.is_finished(), "it waits for the answer");
    payment.script.places.add_permits(1);
    assert_eq!(in_flight.await.unwrap().unwrap().text().await.unwrap(), "success");
    stopping.await.unwrap();
}

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let fixture = Fixture::start().await;
    let response = fixture.get("/somewhere?else=<script>").send().await.unwrap();
    assert_eq!(response.status(), 404);
    assert_eq!(header(&response, "x-content-type-options"), "nosniff");
    assert_eq!(response.text().await.unwrap(), "not found\n");
}
