use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;

use tael_grpc::server::{Limits, Readiness};
use tael_grpc::{deadline, status};
use tael_testkit::eventually;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt as _;

use crate::server::{Called, Server, message, read};

/// How many calls the small servers of these tests take at once.
const CAPACITY: usize = 8;

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

/// More small messages at once than HTTP/2 lets stand on a connection while nobody reads them.
const MANY: usize = 4000;

#[tokio::test]
async fn a_connection_outlives_any_number_of_refusals() {
    let (server, come, places) = narrow().await;
    let client = server.client();
    let call = || {
        let mut client = client.clone();
        tokio::spawn(async move { client.list_consumers(message()).await })
    };
    let held = [call(), call()];
    come.acquire_many(2).await.unwrap().forget();
    for refused in join_all((0..MANY).map(|_| call())).await {
        assert_eq!(refused.unwrap().unwrap_err().code(), Code::ResourceExhausted);
    }
    places.add_permits(2);
    for answer in join_all(held).await {
        assert!(answer.unwrap().is_ok(), "the calls that were taken are not cut off with the others");
    }
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_before_anything_is_done() {
    let (server, come, places) = narrow().await;
    let client = server.client();
    let held: Vec<_> = (0..2)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.list_consumers(message()).await })
        })
        .collect();
    come.acquire_many(2).await.unwrap().forget();

    let refused = client.clone().list_consumers(message()).await.unwrap_err();
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
    client.clone().list_consumers(message()).await.unwrap();
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
        async move { client.list_consumers(message()).await }
    });
    coming.recv().await.unwrap();
    client.list_consumers(message()).await.unwrap_err();
    call.abort();
    eventually("a place", async || client.clone().list_consumers(message()).await.ok()).await;
}

#[tokio::test]
async fn calls_in_flight_are_answered_before_the_end() {
    let (server, come, places) = narrow().await;
    let (mut client, addr) = (server.client(), server.addr);
    let call = tokio::spawn(async move { client.list_consumers(message()).await });
    come.acquire().await.unwrap().forget();
    let stopping = tokio::spawn(server.stop());
    eventually("new connections to be refused", async || TcpStream::connect(addr).await.err()).await;
    assert!(!stopping.is_finished());
    places.add_permits(1);
    call.await.unwrap().unwrap();
    stopping.await.unwrap();
}

/// The calls that were taken keep their places until all others have their answer: the excess is refused without waiting
/// for anything.
#[tokio::test]
async fn of_twenty_times_the_capacity_the_excess_is_refused_at_once_and_the_rest_succeeds() {
    let (taken, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let work = {
        let (taken, go) = (taken.clone(), go.clone());
        move |_| {
            let (taken, go) = (taken.clone(), go.clone());
            async move {
                taken.fetch_add(1, Ordering::Relaxed);
                go.acquire().await.unwrap().forget();
                Ok(())
            }
        }
    };
    let limits = Limits { max_in_flight: CAPACITY, ..Limits::default() };
    let server = Server::start(limits, Readiness::default(), work).await;
    let client = server.client();
    let began = Instant::now();
    let refused = AtomicUsize::new(0);
    let answers = join_all((0..20 * CAPACITY).map(|_| {
        let mut client = client.clone();
        let (refused, go) = (&refused, &go);
        async move {
            let answer = client.list_consumers(message()).await;
            if answer.is_err() && refused.fetch_add(1, Ordering::Relaxed) + 1 == 19 * CAPACITY {
                go.add_permits(CAPACITY);
            }
            answer
        }
    }))
    .await;
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((accepted.len(), refused.len()), (CAPACITY, 19 * CAPACITY));
    assert_eq!(taken.load(Ordering::Relaxed), CAPACITY, "nothing was begun for the others");
    for status in refused.into_iter().map(Result::unwrap_err) {
        assert_eq!(status.code(), Code::ResourceExhausted);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waited for a deadline: {:?}", began.elapsed());
}

#[tokio::test]
async fn readers_of_the_log_take_no_places_of_calls() {
    let (go, reading) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let work = {
        let (go, reading) = (go.clone(), reading.clone());
        move |called| {
            let (go, reading) = (go.clone(), reading.clone());
            async move {
                if called == Called::Read {
                    reading.add_permits(1);
                    go.acquire().await.unwrap().forget();
                }
                Ok(())
            }
        }
    };
    let limits = Limits { max_in_flight: 1, max_log_readers: 2, ..Limits::default() };
    let server = Server::start(limits, Readiness::default(), work).await;
    let client = server.client();
    let held: Vec<_> = (0..2)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.read_events(read()).await })
        })
        .collect();
    reading.acquire_many(2).await.unwrap().forget();

    client.clone().list_consumers(message()).await.expect("a place for calls is free");
    let refused = client.clone().read_events(read()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "readers are bounded as well");
    go.add_permits(2);
    for call in held {
        call.await.unwrap().unwrap();
    }
}

/// What runs is bounded, not only what is waited for.
#[tokio::test]
async fn work_that_goes_on_without_its_caller_keeps_the_place() {
    let (go, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let first = Arc::new(AtomicBool::new(true));
    let work = {
        let (go, begun) = (go.clone(), begun.clone());
        move |_| {
            let (go, begun, is_first) = (go.clone(), begun.clone(), first.swap(false, Ordering::Relaxed));
            async move {
                if is_first {
                    let work = async move {
                        begun.add_permits(1);
                        go.acquire().await.unwrap().forget();
                    };
                    tokio::spawn(deadline::detach_with_permit(work));
                }
                Ok(())
            }
        }
    };
    let limits = Limits { max_in_flight: 1, ..Limits::default() };
    let server = Server::start(limits, Readiness::default(), work).await;
    let mut client = server.client();
    client.list_consumers(message()).await.expect("it is answered before its work has ended");
    begun.acquire().await.unwrap().forget();
    let refused = client.list_consumers(message()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    go.add_permits(1);
    eventually("a place", async || client.clone().list_consumers(message()).await.ok()).await;
}
