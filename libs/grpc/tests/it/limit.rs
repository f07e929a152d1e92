use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tael_grpc::server::{Limits, Readiness};
use tael_grpc::status;
use tael_testkit::eventually;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::server::{Server, message};

/// A server that takes two calls at once. A call says that it has come, then waits for a place to be answered.
async fn narrow() -> (Server, Arc<Semaphore>, Arc<Semaphore>) {
    let (come, places) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let limits = Limits { max_in_flight: 2, ..Limits::default() };
    let method = {
        let (come, places) = (Arc::clone(&come), Arc::clone(&places));
        move |_| {
            let (come, places) = (Arc::clone(&come), Arc::clone(&places));
            async move {
                come.add_permits(1);
                places.acquire().await.unwrap().forget();
                Ok(())
            }
        }
    };
    (Server::start(limits, Readiness::default(), method).await, come, places)
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_before_anything_is_done() {
    let (server, come, places) = narrow().await;
    let client = server.client();
    let held: Vec<_> = (0..2)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.read_events(message()).await })
        })
        .collect();
    come.acquire_many(2).await.unwrap().forget();

    let refused = client.clone().read_events(message()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(status::reason(&refused).as_deref(), Some("OVERLOADED"));
    assert_eq!(refused.get_details_error_info().unwrap().domain, "tael");
    assert_eq!(come.available_permits(), 0, "the method never saw the call");

    let health = HealthClient::new(server.channel()).check(HealthCheckRequest::default()).await;
    assert!(health.is_ok(), "health is never refused");

    places.add_permits(3);
    for call in held {
        call.await.unwrap().unwrap();
    }
    client.clone().read_events(message()).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_gives_its_place_back() {
    let (come, coming) = tokio::sync::mpsc::unbounded_channel();
    let first = Arc::new(AtomicBool::new(true));
    let method = move |_| {
        let (come, is_first) = (come.clone(), first.swap(false, Ordering::Relaxed));
        async move {
            come.send(()).unwrap();
            if is_first {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    };
    let limits = Limits { max_in_flight: 1, ..Limits::default() };
    let server = Server::start(limits, Readiness::default(), method).await;
    let (mut client, mut coming) = (server.client(), coming);
    let call = tokio::spawn({
        let mut client = client.clone();
        async move { client.read_events(message()).await }
    });
    coming.recv().await.unwrap();
    client.read_events(message()).await.unwrap_err();
    call.abort();
    eventually("a place", async || client.clone().read_events(message()).await.ok()).await;
}

#[tokio::test]
async fn calls_in_flight_are_answered_before_the_end() {
    let (server, come, places) = narrow().await;
    let (mut client, addr) = (server.client(), server.addr);
    let call = tokio::spawn(async move { client.read_events(message()).await });
    come.acquire().await.unwrap().forget();
    let stopping = tokio::spawn(server.stop());
    eventually("new connections to be refused", async || TcpStream::connect(addr).await.err()).await;
    assert!(!stopping.is_finished());
    places.add_permits(1);
    call.await.unwrap().unwrap();
    stopping.await.unwrap();
}
