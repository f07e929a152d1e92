//! What is told of calls by those who make them.

use std::time::Duration;

use tael_grpc::caller::Caller;
use tael_grpc::client::{Connector, connect};
use tael_grpc::server::{Limits, Readiness, RpcAccess};
use tael_testkit::{Authority, Mounted, SpanData, SpanKind, Spans, attribute, eventually, is_error};
use tonic::Status;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tracing::Instrument as _;

use crate::server::{Client, Server, message, read};

const METHOD: &str = "tael.event.v1.EventLogService/ListConsumers";
const RPC_ACCESS: RpcAccess = &[("tael.event.v1.EventLogService", &[("ListConsumers", &[Caller::Order])])];

async fn of_kind(spans: &Spans, kind: SpanKind) -> SpanData {
    eventually("a span", async || spans.ended().into_iter().find(|span| span.span_kind == kind)).await
}

#[tokio::test]
async fn a_call_is_a_span_between_the_work_it_is_for_and_the_span_of_who_is_called() {
    let authority = Authority::new();
    let [payment, order] =
        ["payment", "order"].map(|name| Mounted::new(&authority.certify(name), &[&authority]));
    let server = Server::secured(payment.identity().await, RPC_ACCESS).await;
    let url = format!("https://localhost:{}", server.addr.port());
    let mut client = Client::new(Connector::new(Some(order.identity().await)).connect(&url).unwrap());
    let spans = Spans::record();
    let work = tracing::info_span!(target: "tael_test", "work");
    async { client.list_consumers(message()).await.unwrap() }.instrument(work).await;

    let (call, answer) = (of_kind(&spans, SpanKind::Client).await, of_kind(&spans, SpanKind::Server).await);
    let work = spans.named("work");
    assert_eq!((call.name.as_ref(), answer.name.as_ref()), (METHOD, METHOD));
    assert_eq!(call.parent_span_id, work.span_context.span_id());
    assert_eq!(answer.parent_span_id, call.span_context.span_id());
    assert!(!is_error(&call));
    for (name, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", METHOD),
        ("rpc.response.status_code", "OK"),
        ("server.address", "localhost"),
    ] {
        assert_eq!(attribute(&call, name).as_deref(), Some(value), "{call:?}");
    }
    assert_eq!(attribute(&answer, "tael.caller").as_deref(), Some("order"));
}

#[tokio::test]
async fn a_call_has_its_code_and_is_an_error_when_something_is_at_fault() {
    let spans = Spans::record();
    let refusing = Server::start(Limits::default(), Readiness::default(), |_| async {
        Err(Status::not_found("as told"))
    })
    .await;
    let nobody = connect("http://127.0.0.1:1").unwrap();
    for (channel, code, error) in [(refusing.channel(), "NOT_FOUND", false), (nobody, "UNAVAILABLE", true)] {
        let before = spans.ended().iter().filter(|span| span.span_kind == SpanKind::Client).count();
        Client::new(channel).list_consumers(message()).await.unwrap_err();
        let call =
            spans.ended().into_iter().filter(|span| span.span_kind == SpanKind::Client).nth(before).unwrap();
        assert_eq!(attribute(&call, "rpc.response.status_code").as_deref(), Some(code));
        assert_eq!(is_error(&call), error, "{code}");
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_is_cancelled() {
    let spans = Spans::record();
    let silent = Server::start(Limits::default(), Readiness::default(), |_| std::future::pending()).await;
    let mut client = silent.client();
    let call = client.list_consumers(message());
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    let call = of_kind(&spans, SpanKind::Client).await;
    assert_eq!(attribute(&call, "rpc.response.status_code").as_deref(), Some("CANCELLED"));
}

#[tokio::test]
async fn polls_of_the_log_and_health_are_not_told_of() {
    let spans = Spans::record();
    let server = Server::start(Limits::default(), Readiness::default(), |_| async { Ok(()) }).await;
    server.client().read_events(read()).await.unwrap();
    HealthClient::new(server.channel()).check(HealthCheckRequest::default()).await.unwrap();
    server.client().list_consumers(message()).await.unwrap();
    assert_eq!(
        of_kind(&spans, SpanKind::Client).await.name,
        METHOD,
        "the first that is told of is the last made"
    );
}
