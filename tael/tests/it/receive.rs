//! What comes in by OTLP.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::metrics::v1::ResourceMetrics;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans};
use tonic::codec::CompressionEncoding;

use crate::{Watch, hex, span};

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test]
async fn spans_of_several_processes_become_one_trace_in_whatever_order_they_come() {
    let watch = Watch::start().await;
    let traces = watch.collector.traces().clone();
    // Waited for before anything has come.
    let complete = tokio::spawn(async move {
        traces.await_trace("ord_of_this", |trace| trace.spans.len() == 3, PATIENCE).await
    });
    watch.journey().await;
    let trace = complete.await.unwrap().unwrap();
    assert_eq!(trace.id.to_string(), hex(1));
    let event = trace.span("event.payment_succeeded.settlement").unwrap();
    let pay = trace.parent(event).unwrap();
    assert_eq!(&*pay.name, "channel.alipay.precreate");
    assert_eq!(&*trace.parent(pay).unwrap().name, "tael.order.v1.OrderService/CreateOrder");
    assert_eq!(trace.parent(trace.parent(pay).unwrap()), None);
    assert_eq!(pay.resource.service(), Some("payment"));
    assert_eq!(watch.collector.traces().spans().len(), 4);
}

#[tokio::test]
async fn what_did_not_come_is_told_with_what_came() {
    let watch = Watch::start().await;
    watch.journey().await;
    let traces = watch.collector.traces();
    let error = traces.await_trace("ord_of_this", |_| false, Duration::from_millis(1)).await.unwrap_err();
    assert!(error.to_string().contains("channel.alipay.precreate"), "{error}");
}

#[tokio::test]
async fn spans_without_valid_ids_are_told_to_the_exporter() {
    let watch = Watch::start().await;
    let mut bad = span(1, 1, None, "bad", 0, 1);
    bad.trace_id.clear();
    let partial = watch.send("order", vec![bad, span(1, 2, None, "good", 0, 1)]).await.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("16 bytes"), "{}", partial.error_message);
    assert_eq!(watch.collector.traces().spans().len(), 1);
}

#[tokio::test]
async fn compressed_requests_are_taken() {
    let watch = Watch::start().await;
    let scope_spans =
        vec![ScopeSpans { spans: vec![span(1, 1, None, "packed", 0, 1)], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let client = TraceServiceClient::connect(watch.collector.endpoint()).await.unwrap();
    let mut client = client.send_compressed(CompressionEncoding::Gzip);
    client.export(ExportTraceServiceRequest { resource_spans }).await.unwrap();
    assert_eq!(&*watch.collector.traces().spans()[0].name, "packed");
}

#[tokio::test]
async fn metrics_are_taken_from_those_who_send_them_too() {
    let watch = Watch::start().await;
    let mut client = MetricsServiceClient::connect(watch.collector.endpoint()).await.unwrap();
    let request = ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics::default()] };
    assert_eq!(client.export(request).await.unwrap().into_inner().partial_success, None);
}
