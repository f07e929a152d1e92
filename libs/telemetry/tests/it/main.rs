//! A process with telemetry set up, and the collector it exports to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TraceId;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point;
use tael_telemetry::{
    LogFormat, TelemetryConfig, TelemetryError, current_trace_id, init, is_exporting, meter, seconds,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// An OTLP collector that hands on what it receives.
struct Collector<T>(mpsc::UnboundedSender<T>);

impl<T> Collector<T> {
    fn hand_on(&self, request: Request<T>) -> Result<(), Status> {
        self.0.send(request.into_inner()).map_err(|_| Status::unavailable("the test is over"))
    }
}

#[tonic::async_trait]
impl TraceService for Collector<ExportTraceServiceRequest> {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.hand_on(request)?;
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector<ExportMetricsServiceRequest> {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.hand_on(request)?;
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

/// One test, because a process has one global subscriber and one global meter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_and_metrics_reach_the_collector_before_the_process_ends() {
    let ((spans, mut received_spans), (metrics, mut received_metrics)) =
        (mpsc::unbounded_channel(), mpsc::unbounded_channel());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let collector = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(Collector(spans)))
        .add_service(MetricsServiceServer::new(Collector(metrics)));
    tokio::spawn(collector.serve_with_incoming(TcpListenerStream::new(listener)));

    // Made before telemetry is set up: harmless, and never exported.
    meter().u64_counter("test.too_early").build().add(1, &[]);
    let config = TelemetryConfig {
        service: "order".to_owned(),
        otlp_endpoint: Some(endpoint),
        log_format: LogFormat::Json,
        log_filter: "info".to_owned(),
    };
    assert!(!is_exporting(), "nothing is set up");
    let telemetry = init(config.clone()).unwrap();
    assert!(is_exporting());
    assert!(matches!(init(config), Err(TelemetryError::AlreadyInitialized(_))));

    let trace_id = {
        let _span =
            tracing::info_span!(target: "tael_order", "order.CreateOrder", order_id = "ord_1").entered();
        let _other = tracing::info_span!(target: "hyper", "connection").entered();
        current_trace_id().unwrap()
    };
    let counter = meter().u64_counter("test.calls").with_unit("{call}").build();
    counter.add(2, &[KeyValue::new("outcome", "first")]);
    counter.add(3, &[KeyValue::new("outcome", "first")]);
    seconds("test.duration", "How long tests take").record(0.2, &[]);
    telemetry.shutdown();
    counter.add(7, &[KeyValue::new("outcome", "too late")]);

    check_spans(&next(&mut received_spans).await, &trace_id);
    check_metrics(&next(&mut received_metrics).await);
    received_metrics.close();
    assert_eq!(received_metrics.recv().await, None, "one export, at the end");
}

async fn next<T>(received: &mut mpsc::UnboundedReceiver<T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), received.recv()).await.unwrap().unwrap()
}

fn check_spans(request: &ExportTraceServiceRequest, trace_id: &str) {
    let [resource] = &request.resource_spans[..] else { panic!("one process: {request:?}") };
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(text(attributes, "service.name").as_deref(), Some("order"));

    let spans: Vec<_> = resource.scope_spans.iter().flat_map(|scope| &scope.spans).collect();
    let [span] = spans[..] else { panic!("one span: {spans:?}") };
    assert_eq!(span.name, "order.CreateOrder");
    assert_eq!(TraceId::from_bytes(span.trace_id[..].try_into().unwrap()).to_string(), trace_id);
    assert_eq!(text(&span.attributes, "order_id").as_deref(), Some("ord_1"));
}

fn check_metrics(request: &ExportMetricsServiceRequest) {
    let [resource] = &request.resource_metrics[..] else { panic!("one process: {request:?}") };
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(text(attributes, "service.name").as_deref(), Some("order"));

    let [scope] = &resource.scope_metrics[..] else { panic!("one meter: {resource:?}") };
    assert_eq!(scope.scope.as_ref().unwrap().name, "tael");
    let mut metrics: Vec<_> = scope.metrics.iter().collect();
    metrics.sort_by_key(|metric| &metric.name);
    let [metric, duration] = metrics[..] else { panic!("two instruments: {scope:?}") };
    assert_eq!((metric.name.as_str(), metric.unit.as_str()), ("test.calls", "{call}"));
    let Some(Data::Sum(sum)) = &metric.data else { panic!("a counter: {metric:?}") };
    assert!(sum.is_monotonic);
    let [point] = &sum.data_points[..] else { panic!("one point: {sum:?}") };
    assert_eq!(point.value, Some(number_data_point::Value::AsInt(5)));
    assert_eq!(text(&point.attributes, "outcome").as_deref(), Some("first"));

    assert_eq!((duration.name.as_str(), duration.unit.as_str()), ("test.duration", "s"));
    assert_eq!(duration.description, "How long tests take");
    let Some(Data::Histogram(histogram)) = &duration.data else { panic!("a histogram: {duration:?}") };
    let [point] = &histogram.data_points[..] else { panic!("one point: {histogram:?}") };
    let mut counts = point.explicit_bounds.iter().zip(&point.bucket_counts);
    assert_eq!(counts.find(|(_, count)| **count > 0), Some((&0.25, &1)));
}

fn text(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        other => panic!("{key} is {other:?}"),
    }
}
