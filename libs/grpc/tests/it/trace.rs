use std::sync::{Arc, Mutex};
use std::time::Duration;

use tael_grpc::server::{Limits, Readiness};
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_testkit::{SpanData, SpanKind, Spans, attribute, eventually, is_error};
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::server::{Server, message, read};

const METHOD: &str = "tael.event.v1.EventLogService/ListConsumers";

/// A server that answers with what it is told, and a client that knows nothing of traces.
struct Fixture {
    spans: Spans,
    answer: Arc<Mutex<Result<(), Status>>>,
    server: Server,
    channel: tonic::transport::Channel,
}

impl Fixture {
    async fn start(limits: Limits) -> Self {
        let spans = Spans::record();
        let answer = Arc::new(Mutex::new(Ok(())));
        let answers = Arc::clone(&answer);
        let server = Server::start(limits, Readiness::default(), move |_| {
            let answer = answers.lock().unwrap().clone();
            async move { answer }
        })
        .await;
        let endpoint = Endpoint::from_shared(format!("http://{}", server.addr)).unwrap();
        Self { spans, answer, server, channel: endpoint.connect_lazy() }
    }

    /// Makes a call that ends with a code, and returns its span.
    async fn call(&self, answer: Result<(), Status>) -> SpanData {
        let before = self.spans.ended().len();
        *self.answer.lock().unwrap() = answer;
        let _ = EventLogServiceClient::new(self.channel.clone()).list_consumers(message()).await;
        // It ends a moment after its answer has left.
        eventually("the call's span", || async { self.spans.ended().get(before).cloned() }).await
    }
}

#[tokio::test]
async fn a_call_is_a_span_that_joins_its_callers_trace() {
    let fixture = Fixture::start(Limits::default()).await;
    let mut request = message();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    EventLogServiceClient::new(fixture.channel.clone()).list_consumers(request).await.unwrap();

    let span = eventually("the call's span", || async { fixture.spans.ended().pop() }).await;
    assert_eq!(span.name, METHOD);
    assert_eq!(span.span_kind, SpanKind::Server);
    assert_eq!(span.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(span.parent_span_id.to_string(), "b7ad6b7169203331");
    assert!(!is_error(&span));
    for (name, value) in
        [("rpc.system.name", "grpc"), ("rpc.method", METHOD), ("rpc.response.status_code", "OK")]
    {
        assert_eq!(attribute(&span, name).as_deref(), Some(value), "{span:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_no_error_and_a_fault_is() {
    let fixture = Fixture::start(Limits::default()).await;
    for (code, name, error) in [
        (Code::NotFound, "NOT_FOUND", false),
        (Code::FailedPrecondition, "FAILED_PRECONDITION", false),
        (Code::ResourceExhausted, "RESOURCE_EXHAUSTED", false),
        (Code::Internal, "INTERNAL", true),
        (Code::Unavailable, "UNAVAILABLE", true),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", true),
    ] {
        let span = fixture.call(Err(Status::new(code, "as told"))).await;
        assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some(name));
        assert_eq!(is_error(&span), error, "{name}");
    }
}

#[tokio::test]
async fn a_call_refused_for_load_is_told_of() {
    let limits = Limits { max_in_flight: 0, ..Limits::default() };
    let fixture = Fixture::start(limits).await;
    let span = fixture.call(Ok(())).await;
    assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("RESOURCE_EXHAUSTED"));
}

#[tokio::test]
async fn a_call_that_its_caller_gave_up_is_cancelled() {
    let spans = Spans::record();
    let server = Server::start(Limits::default(), Readiness::default(), |_| std::future::pending()).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.addr)).unwrap();
    let mut client = EventLogServiceClient::new(endpoint.connect_lazy());
    tokio::time::timeout(Duration::from_millis(100), client.list_consumers(message())).await.unwrap_err();
    let span = eventually("the call's span", || async { spans.ended().pop() }).await;
    assert_eq!(attribute(&span, "rpc.response.status_code").as_deref(), Some("CANCELLED"));
}

#[tokio::test]
async fn health_and_polls_of_the_log_are_no_spans_and_unknown_methods_have_no_names() {
    let fixture = Fixture::start(Limits::default()).await;
    HealthClient::new(fixture.channel.clone()).check(HealthCheckRequest::default()).await.unwrap();
    EventLogServiceClient::new(fixture.channel.clone()).read_events(read()).await.unwrap();
    let mut grpc = tonic::client::Grpc::new(fixture.channel.clone());
    grpc.ready().await.unwrap();
    let path = "/tael.order.v1.OrderService/4111111111111111".parse().unwrap();
    let codec =
        tonic_prost::ProstCodec::<tael_proto::event::v1::Cursor, tael_proto::event::v1::Cursor>::default();
    let answer = grpc.unary(tonic::Request::new(tael_proto::event::v1::Cursor::default()), path, codec).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    fixture.server.stop().await;
    assert_eq!(fixture.spans.names(), ["_OTHER"]);
    assert!(is_error(&fixture.spans.named("_OTHER")));
}
