//! A process with telemetry set up, and the collector it exports to.

use std::time::Duration;

use opentelemetry::trace::TraceId;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use tael_telemetry::{LogFormat, TelemetryConfig, TelemetryError, current_trace_id, init};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// An OTLP collector that hands on what it receives.
struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.send(request.into_inner()).map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// One test, because a process has one global subscriber.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_reach_the_collector_before_the_process_ends() {
    let (sender, mut received) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let collector =
        tonic::transport::Server::builder().add_service(TraceServiceServer::new(Collector(sender)));
    tokio::spawn(collector.serve_with_incoming(TcpListenerStream::new(listener)));

    let config = TelemetryConfig {
        service: "order".to_owned(),
        otlp_endpoint: Some(endpoint),
        log_format: LogFormat::Json,
        log_filter: "info".to_owned(),
    };
    let telemetry = init(config.clone()).unwrap();
    assert!(matches!(init(config), Err(TelemetryError::AlreadyInitialized(_))));

    let trace_id = {
        let _span =
            tracing::info_span!(target: "tael_order", "order.CreateOrder", order_id = "ord_1").entered();
        let _other = tracing::info_span!(target: "hyper", "connection").entered();
        current_trace_id().unwrap()
    };
    telemetry.shutdown();

    let request = tokio::time::timeout(Duration::from_secs(10), received.recv()).await.unwrap().unwrap();
    let [resource] = &request.resource_spans[..] else { panic!("one process: {request:?}") };
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(text(attributes, "service.name").as_deref(), Some("order"));

    let spans: Vec<_> = resource.scope_spans.iter().flat_map(|scope| &scope.spans).collect();
    let [span] = spans[..] else { panic!("one span: {spans:?}") };
    assert_eq!(span.name, "order.CreateOrder");
    assert_eq!(TraceId::from_bytes(span.trace_id[..].try_into().unwrap()).to_string(), trace_id);
    assert_eq!(text(&span.attributes, "order_id").as_deref(), Some("ord_1"));
}

fn text(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        other => panic!("{key} is {other:?}"),
    }
}
