//! The binary itself: what all services share of starting, draining and ending.

use std::process::{Output, Stdio};

use secrecy::ExposeSecret as _;
use tael_grpc::client::Channel;
use tael_principal::SigningKey;
use tael_proto::event::v1::ReadEventsRequest;
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_testkit::{TestDatabase, eventually, redis_url};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tael-merchant"));
    command.env_clear();
    command.env("TAEL_PRINCIPAL_SIGNING_KEY", SigningKey::generate("test").0.expose_secret());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

fn terminate(child: &Child) {
    let id = child.id().expect("the process runs").to_string();
    let sent = std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap();
    assert!(sent.success());
}

fn free_port() -> u16 {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    free.local_addr().unwrap().port()
}

async fn becomes_healthy(channel: &Channel, service: &str) {
    eventually(&format!("health of {service:?}"), || {
        let mut health = HealthClient::new(channel.clone());
        async move {
            let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.ok()?;
            (answer.into_inner().status() == ServingStatus::Serving).then_some(())
        }
    })
    .await;
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn all_errors_of_the_configuration_are_told_at_once() {
    let output = binary().env("TAEL_LISTEN", "somewhere").output().await.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let complaint = complaint(&output);
    for name in ["TAEL_LISTEN", "TAEL_DATABASE_URL", "TAEL_REDIS_URL"] {
        assert!(complaint.contains(name), "{complaint}");
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_no_start() {
    let output = binary()
        .env("TAEL_LISTEN", "127.0.0.1:0")
        .env("TAEL_START_PATIENCE", "1s")
        .env("TAEL_DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .env("TAEL_REDIS_URL", redis_url().expose_secret())
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", complaint(&output));
}

#[tokio::test]
async fn a_database_that_comes_late_is_waited_for() {
    let database = TestDatabase::create().await;
    let (mut link, url) = database.link().await;
    link.cut().await;
    let port = free_port();
    let mut child = binary()
        .env("TAEL_LISTEN", format!("127.0.0.1:{port}"))
        .env("TAEL_DATABASE_URL", url.expose_secret())
        .env("TAEL_REDIS_URL", redis_url().expose_secret())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    while !log.next_line().await.unwrap().expect("it has not ended").contains("could not start yet") {}
    link.restore().await;
    while !log.next_line().await.unwrap().expect("it has not ended").contains("serving") {}
    let channel = tael_grpc::client::connect(&format!("http://127.0.0.1:{port}")).unwrap();
    becomes_healthy(&channel, "").await;
}

#[tokio::test]
async fn it_serves_and_told_to_end_it_answers_who_waits_and_ends_well() {
    let database = TestDatabase::create().await;
    let port = free_port();
    let mut child = binary()
        .env("TAEL_LISTEN", format!("127.0.0.1:{port}"))
        .env("TAEL_DATABASE_URL", database.url().expose_secret())
        .env("TAEL_REDIS_URL", redis_url().expose_secret())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let channel = tael_grpc::client::connect(&format!("http://127.0.0.1:{port}")).unwrap();
    for service in ["", "postgres", "redis"] {
        becomes_healthy(&channel, service).await;
    }

    let waiting = tokio::spawn({
        let mut log = EventLogServiceClient::new(channel);
        let mut request =
            tonic::Request::new(ReadEventsRequest { wait_ms: 30_000, ..ReadEventsRequest::default() });
        request.set_timeout(std::time::Duration::from_secs(35));
        async move { log.read_events(request).await }
    });
    // The reader waits in the server when its look at the log shows among the database's sessions.
    let pool = database.pool();
    eventually("the reader to wait", || async {
        sqlx::query_scalar::<_, bool>(
            "select true from pg_stat_activity where datname = current_database() and query like '%from event_log%'
             and pid <> pg_backend_pid() limit 1",
        )
        .fetch_optional(&pool)
        .await
        .unwrap()
    })
    .await;
    terminate(&child);
    let answer = waiting.await.unwrap().unwrap().into_inner();
    assert_eq!(answer.events, []);
    assert_eq!(child.wait().await.unwrap().code(), Some(0));
}
