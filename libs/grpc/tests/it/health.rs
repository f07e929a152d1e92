use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tael_grpc::client::connect;
use tael_grpc::server::{Check, LIVE, Limits, Readiness, bind};
use tael_testkit::eventually;
use tokio::sync::Notify;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::server::{Client, Server, message};

async fn serving(readiness: Readiness) -> Server {
    Server::start(Limits::default(), readiness, |_| async { Ok(()) }).await
}

async fn health(server: &Server, name: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: name.to_owned() };
    HealthClient::new(server.channel()).check(request).await.unwrap().into_inner().status()
}

async fn becomes(server: &Server, name: &str, status: ServingStatus) {
    let what = format!("{name:?} to be {status:?}");
    eventually(&what, async || (health(server, name).await == status).then_some(())).await;
}

#[tokio::test]
async fn a_service_is_as_ready_as_what_it_requires() {
    let (postgres, redis) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
    let probe = |is_up: &Arc<AtomicBool>| {
        let is_up = Arc::clone(is_up);
        move || std::future::ready(is_up.load(Ordering::Relaxed))
    };
    let checks =
        vec![Check::required("postgres", probe(&postgres)), Check::degrading("redis", probe(&redis))];
    let server = serving(Readiness::new(checks)).await;
    becomes(&server, "", ServingStatus::Serving).await;

    redis.store(false, Ordering::Relaxed);
    becomes(&server, "redis", ServingStatus::NotServing).await;
    assert_eq!(health(&server, "").await, ServingStatus::Serving, "slower, not useless");
    assert_eq!(health(&server, "postgres").await, ServingStatus::Serving);

    postgres.store(false, Ordering::Relaxed);
    becomes(&server, "", ServingStatus::NotServing).await;
    assert_eq!(health(&server, "postgres").await, ServingStatus::NotServing);
    assert_eq!(health(&server, LIVE).await, ServingStatus::Serving, "a restart would not help");

    postgres.store(true, Ordering::Relaxed);
    becomes(&server, "", ServingStatus::Serving).await;
}

#[tokio::test]
async fn a_service_is_not_ready_before_its_dependencies_were_seen() {
    let never = || std::future::pending::<bool>();
    let server = serving(Readiness::new(vec![Check::required("postgres", never)])).await;
    assert_eq!(health(&server, "").await, ServingStatus::NotServing);
    // A probe that never answers counts as a failed one.
    eventually("the probe to be given up", async || {
        let request = HealthCheckRequest { service: "postgres".to_owned() };
        let reply = HealthClient::new(server.channel()).check(request).await.ok()?;
        (reply.get_ref().status() == ServingStatus::NotServing).then_some(())
    })
    .await;
    assert_eq!(health(&server, "").await, ServingStatus::NotServing);
}

#[tokio::test]
async fn probes_hear_at_once_that_a_service_ends_and_until_it_has() {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (bound, probed) = bind(local, Limits::default()).await.unwrap().with_health(local).await.unwrap();
    let (began, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (entered, release) = (began.clone(), may_end.clone());
    let server = Server::serve(bound, Readiness::default(), move |_| {
        let (entered, release) = (entered.clone(), release.clone());
        async move {
            entered.notify_one();
            release.notified().await;
            Ok(())
        }
    });
    let probe = connect(&format!("http://{probed}")).unwrap();
    let status = async || {
        let answer = HealthClient::new(probe.clone()).check(HealthCheckRequest::default()).await;
        answer.unwrap().into_inner().status()
    };
    eventually("it to be ready", async || (status().await == ServingStatus::Serving).then_some(())).await;
    let call = tokio::spawn({
        let mut client = server.client();
        async move { client.list_consumers(message()).await }
    });
    began.notified().await;
    server.tell_to_end();
    eventually("it to end", async || (status().await == ServingStatus::NotServing).then_some(())).await;
    assert!(!call.is_finished(), "the call in flight goes on");
    let live = HealthCheckRequest { service: LIVE.to_owned() };
    let live = HealthClient::new(probe.clone()).check(live).await.unwrap().into_inner();
    assert_eq!(live.status(), ServingStatus::Serving, "who drains is not to be killed");
    // Nothing but health is served there.
    let other = Client::new(probe.clone()).list_consumers(message()).await.unwrap_err();
    assert_eq!(other.code(), Code::Unimplemented);
    may_end.notify_one();
    call.await.unwrap().unwrap();
    server.stop().await;
    eventually("nobody to answer", async || {
        HealthClient::new(probe.clone()).check(HealthCheckRequest::default()).await.err()
    })
    .await;
}

#[tokio::test]
async fn a_service_without_dependencies_is_ready() {
    let server = serving(Readiness::default()).await;
    becomes(&server, "", ServingStatus::Serving).await;
    let request = HealthCheckRequest { service: "postgres".to_owned() };
    let unknown = HealthClient::new(server.channel()).check(request).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
}
