//! The receiver and the viewer of traces from outside: spans go in by OTLP, pages and trees come out.

mod api;
mod command;
mod page;
mod print;
mod quiet;
mod receive;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Link;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use reqwest::StatusCode;
use tael::traces::{Collector, Limits, Traces, Viewer};

/// 2026-01-01 in nanoseconds.
const NEW_YEAR: u64 = 1_767_225_600_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// A receiver and a viewer on free ports.
struct Watch {
    collector: Collector,
    viewer: Viewer,
}

impl Watch {
    async fn start() -> Self {
        let free = ([127, 0, 0, 1], 0).into();
        let traces = Traces::new(Limits::default());
        let collector = Collector::listen(free, traces.clone()).await.expect("a free port");
        let viewer = Viewer::start(free, traces, collector.endpoint()).await.expect("a free port");
        Self { collector, viewer }
    }

    /// Sends spans of one service, as its exporter would.
    async fn send(&self, service: &str, spans: Vec<Span>) -> Option<ExportTracePartialSuccess> {
        let resource =
            Resource { attributes: vec![attribute("service.name", service)], ..Resource::default() };
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans =
            vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
        let mut client = TraceServiceClient::connect(self.collector.endpoint()).await.expect("it listens");
        let answer = client.export(ExportTraceServiceRequest { resource_spans }).await.expect("an answer");
        answer.into_inner().partial_success
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let url = format!("{}{path}", self.viewer.url());
        let client =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        let response = client.get(url).send().await.expect("an answer");
        let status = response.status();
        if status == StatusCode::SEE_OTHER {
            return (status, response.headers()["location"].to_str().expect("letters").to_owned());
        }
        // A slash is written as a character reference, which is one to whoever reads the page.
        (status, response.text().await.expect("a text").replace("&#x2f;", "/"))
    }

    /// Two services make one trace; a third handles its event in a batch with a trace of its own.
    async fn journey(&self) {
        let create = span(1, 1, None, "tael.order.v1.OrderService/CreateOrder", 0, 9);
        let pay = span(1, 2, Some(1), "channel.alipay.precreate", 2, 4);
        let mut event = span(1, 3, Some(2), "event.payment_succeeded.settlement", 5, 3);
        event.links = vec![Link { trace_id: id(2), span_id: short(9), ..Link::default() }];
        let batch = span(2, 9, None, "event.batch.settlement", 5, 3);
        self.send("settlement", vec![event, batch]).await;
        self.send("payment", vec![with(pay, &[("tael.payment_id", "pay_of_this"), ("tael.outcome", "ok")])])
            .await;
        self.send("order", vec![with(create, &[("tael.order_id", "ord_of_this")])]).await;
    }
}

/// A trace's id.
fn id(trace: u8) -> Vec<u8> {
    vec![trace; 16]
}

/// A span's id.
fn short(span: u8) -> Vec<u8> {
    vec![span; 8]
}

/// A trace's id as text.
fn hex(trace: u8) -> String {
    format!("{trace:02x}").repeat(16)
}

fn span(trace: u8, span: u8, parent: Option<u8>, name: &str, start_ms: u64, took_ms: u64) -> Span {
    let start_time_unix_nano = NEW_YEAR + start_ms * MILLISECOND;
    Span {
        trace_id: id(trace),
        span_id: short(span),
        parent_span_id: parent.map(short).unwrap_or_default(),
        name: name.to_owned(),
        start_time_unix_nano,
        end_time_unix_nano: start_time_unix_nano + took_ms * MILLISECOND,
        ..Span::default()
    }
}

fn with(mut span: Span, attributes: &[(&str, &str)]) -> Span {
    span.attributes.extend(attributes.iter().map(|(key, value)| attribute(key, value)));
    span
}

fn failed(mut span: Span, message: &str) -> Span {
    span.status = Some(Status { code: 2, message: message.to_owned() });
    span
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}
