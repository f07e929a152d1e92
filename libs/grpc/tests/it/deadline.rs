use std::sync::Mutex;
use std::time::Duration;

use tael_grpc::client::{Connector, Resolver};
use tael_grpc::deadline;
use tael_grpc::server::{Limits, Readiness};
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::server::{Client, Server, message};

/// What a called service knows of the time it has.
type Seen = mpsc::UnboundedReceiver<Duration>;

fn left() -> Duration {
    deadline::current().expect("every call has a deadline").saturating_duration_since(Instant::now())
}

/// A service that notes how much time it has left and then answers, or never does.
async fn noting(limits: Limits, answers: bool) -> (Server, Seen) {
    let (noted, seen) = mpsc::unbounded_channel();
    let method = move |_| {
        let noted = noted.clone();
        async move {
            noted.send(left()).unwrap();
            if !answers {
                std::future::pending::<()>().await;
            }
            Ok(())
        }
    };
    (Server::start(limits, Readiness::default(), method).await, seen)
}

/// A service that answers when the next one has answered.
async fn passing_on(next: &Server) -> Server {
    let client = next.client();
    let method = move |_| {
        let mut client = client.clone();
        async move { client.list_consumers(message()).await.map(drop) }
    };
    Server::start(Limits::default(), Readiness::default(), method).await
}

#[tokio::test]
async fn the_server_ends_a_call_at_its_own_limit_and_drops_the_work() {
    // The work holds the sender; the receiver ends when the work is dropped.
    let (alive, mut gone) = mpsc::channel::<()>(1);
    let alive = Mutex::new(Some(alive));
    let method = move |_| {
        let alive = alive.lock().unwrap().take();
        async move {
            let _alive = alive;
            std::future::pending::<()>().await;
            Ok(())
        }
    };
    let limits = Limits { max_duration: Duration::from_millis(50), ..Limits::default() };
    let server = Server::start(limits, Readiness::default(), method).await;
    let late = server.client().list_consumers(message()).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert_eq!(late.message(), "the call's deadline passed", "the server says so, not the client");
    assert_eq!(gone.recv().await, None);
}

#[tokio::test]
async fn nothing_is_begun_for_a_caller_whose_deadline_has_passed() {
    let (server, mut seen) = noting(Limits::default(), true).await;
    let mut request = message();
    request.metadata_mut().insert("grpc-timeout", "0n".parse().unwrap());
    // By a caller that sends it nevertheless.
    let url = format!("http://{}", server.addr);
    let mut caller = EventLogServiceClient::new(Endpoint::from_shared(url).unwrap().connect_lazy());
    let late = caller.list_consumers(request).await.unwrap_err();
    assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late:?}");
    server.client().list_consumers(message()).await.unwrap();
    assert!(seen.recv().await.unwrap() > Duration::from_secs(5), "the first to be noted is the second call");
}

#[tokio::test]
async fn a_caller_s_nearer_deadline_is_kept() {
    let (server, mut seen) = noting(Limits::default(), false).await;
    let mut request = message();
    request.set_timeout(Duration::from_secs(1));
    let late = server.client().list_consumers(request).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(seen.recv().await.unwrap() <= Duration::from_secs(1));
}

#[tokio::test]
async fn a_caller_s_farther_deadline_is_cut_to_the_limit() {
    let limits = Limits { max_duration: Duration::from_secs(2), ..Limits::default() };
    let (server, mut seen) = noting(limits, true).await;
    let mut request = message();
    request.set_timeout(Duration::from_hours(1));
    server.client().list_consumers(request).await.unwrap();
    let left = seen.recv().await.unwrap();
    assert!(left <= Duration::from_secs(2) && left > Duration::from_secs(1), "{left:?}");
}

#[tokio::test]
async fn a_call_without_a_deadline_gets_ten_seconds() {
    let (server, mut seen) = noting(Limits::default(), true).await;
    server.client().list_consumers(message()).await.unwrap();
    let left = seen.recv().await.unwrap();
    assert!(left <= Duration::from_secs(10) && left > Duration::from_secs(9), "{left:?}");
}

#[tokio::test]
async fn the_deadline_goes_on_to_the_next_service() {
    let (last, mut seen) = noting(Limits::default(), false).await;
    let middle = passing_on(&last).await;
    let first = passing_on(&middle).await;
    let mut request = message();
    request.set_timeout(Duration::from_millis(200));
    let began = Instant::now();
    let late = first.client().list_consumers(request).await.unwrap_err();
    assert_eq!(late.code(), Code::DeadlineExceeded);
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waits for the default of ten seconds");
    let left = seen.recv().await.unwrap();
    assert!(left <= Duration::from_millis(200), "{left:?}");
}

#[tokio::test]
async fn a_call_made_inside_of_another_has_no_more_time_than_that() {
    let (server, mut seen) = noting(Limits::default(), true).await;
    let mut request = message();
    request.set_timeout(Duration::from_secs(20));
    let at = Instant::now() + Duration::from_secs(5);
    deadline::scope(at, server.client().list_consumers(request)).await.unwrap();
    let left = seen.recv().await.unwrap();
    assert!(left <= Duration::from_secs(5), "{left:?}");
}

#[tokio::test]
async fn who_is_called_is_told_how_long_it_has_by_then() {
    const LOOK_UP: Duration = Duration::from_millis(300);
    let (server, mut seen) = noting(Limits::default(), true).await;
    let addr = server.addr;
    let resolver = Resolver::new(move |_, _| async move {
        tokio::time::sleep(LOOK_UP).await;
        Ok(vec![addr])
    });
    let channel = Connector::default().resolving(resolver).connect("http://service:50051").unwrap();
    let mut request = message();
    request.set_timeout(Duration::from_secs(5));
    Client::new(channel).list_consumers(request).await.unwrap();
    let left = seen.recv().await.unwrap();
    assert!(left + LOOK_UP <= Duration::from_secs(5), "{left:?}");
}
