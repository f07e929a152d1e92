use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, SpanKind, Status, TraceId};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use serde_json::{Value, json};
use tracing::info_span;

use super::*;
use crate::{
    current_trace_id, current_traceparent, follow, follow_headers, inject, leave_out, link, record,
    traceparent_of,
};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Keeps what a process would export.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Recorder {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(batch);
        Ok(())
    }
}

impl Recorder {
    fn span(&self, name: &str) -> SpanData {
        let spans = self.0.lock().unwrap();
        spans.iter().find(|span| span.name == name).expect("the span was exported").clone()
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(|span| span.name.to_string()).collect()
    }
}

/// Keeps what a process would write to standard error.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Runs `work` as a process of its own would: with its own exporter and log.
fn in_process(log_format: LogFormat, work: impl FnOnce()) -> (Recorder, Log) {
    let recorder = Recorder::default();
    let exporter = stores::Exporter(recorder.clone());
    let provider = SdkTracerProvider::builder().with_simple_exporter(exporter).build();
    let log = run(log_format, Some(provider.tracer("tael")), work);
    (recorder, log)
}

fn run(log_format: LogFormat, tracer: Option<SdkTracer>, work: impl FnOnce()) -> Log {
    // Which spans are made is settled by all subscribers of a process together, so there must be one at a time.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let log = Log::default();
    let writer = log.clone();
    let subscriber = subscriber(log_format, "info", tracer, move || writer.clone()).unwrap();
    tracing::dispatcher::with_default(&subscriber, work);
    log
}

#[test]
fn two_services_joined_by_stored_text_share_one_trace() {
    let mut stored = None;
    let (order, _) = in_process(LogFormat::Json, || {
        let _span = info_span!("order.CreateOrder").entered();
        let _inner = info_span!("db.order.insert").entered();
        stored = current_traceparent();
    });
    let stored = stored.unwrap();
    let (settlement, _) = in_process(LogFormat::Json, || {
        let span = info_span!("settlement.apply_events");
        follow(&span, &stored);
        let _span = span.entered();
    });

    let written_by = order.span("db.order.insert");
    let taken_up_by = settlement.span("settlement.apply_events");
    assert_eq!(taken_up_by.span_context.trace_id(), written_by.span_context.trace_id());
    assert_eq!(taken_up_by.parent_span_id, written_by.span_context.span_id());
    assert_eq!(order.span("order.CreateOrder").span_context.trace_id(), written_by.span_context.trace_id());
}

#[test]
fn two_services_joined_by_headers_share_one_trace() {
    let mut headers = HeaderMap::new();
    let (payment, _) = in_process(LogFormat::Json, || {
        let _span = info_span!("payment.CreatePayment").entered();
        inject(&mut headers);
    });
    assert_eq!(headers.keys().collect::<Vec<_>>(), ["traceparent"]);
    let (order, _) = in_process(LogFormat::Json, || {
        let span = info_span!("order.GetOrder");
        follow_headers(&span, &headers);
        let _span = span.entered();
    });

    let outgoing = payment.span("payment.CreatePayment");
    let incoming = order.span("order.GetOrder");
    assert_eq!(incoming.span_context.trace_id(), outgoing.span_context.trace_id());
    assert_eq!(incoming.parent_span_id, outgoing.span_context.span_id());
}

#[test]
fn tracestate_travels_with_the_trace() {
    let mut incoming = HeaderMap::new();
    incoming.insert("traceparent", TRACEPARENT.parse().unwrap());
    incoming.insert("tracestate", "vendor=value".parse().unwrap());
    let mut outgoing = HeaderMap::new();
    in_process(LogFormat::Json, || {
        let span = info_span!("gateway.notify");
        follow_headers(&span, &incoming);
        span.in_scope(|| inject(&mut outgoing));
    });
    assert_eq!(outgoing["tracestate"], "vendor=value");
}

#[test]
fn a_malformed_traceparent_is_ignored() {
    for malformed in [
        "",
        "hello",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-extra",
        "00-ключ-b7ad6b7169203331-01",
    ] {
        let (recorder, _) = in_process(LogFormat::Json, || {
            let _outer = info_span!("outer").entered();
            let span = info_span!("inner");
            follow(&span, malformed);
            let _span = span.entered();
        });
        let outer = recorder.span("outer");
        assert_eq!(outer.parent_span_id, SpanId::INVALID, "{malformed}");
        assert_eq!(recorder.span("inner").parent_span_id, outer.span_context.span_id(), "{malformed}");
    }
}

#[test]
fn a_well_formed_traceparent_replaces_the_surrounding_span() {
    let (recorder, _) = in_process(LogFormat::Json, || {
        let _worker = info_span!("worker").entered();
        let span = info_span!("event");
        follow(&span, TRACEPARENT);
        assert!(traceparent_of(&span).unwrap().starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
        let _span = span.entered();
        assert_eq!(current_trace_id().unwrap(), "0af7651916cd43dd8448eb211c80319c");
    });
    let event = recorder.span("event");
    assert_eq!(event.parent_span_id, SpanId::from_hex("b7ad6b7169203331").unwrap());
    assert_eq!(event.span_context.trace_id(), TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").unwrap());
    assert_ne!(recorder.span("worker").span_context.trace_id(), event.span_context.trace_id());
}

#[test]
fn a_span_can_follow_until_somebody_asks_for_its_context() {
    let (recorder, _) = in_process(LogFormat::Json, || {
        let entered = info_span!("entered").entered();
        follow(&entered, TRACEPARENT);
        drop(entered);
        let asked = info_span!("asked");
        drop(info_span!(parent: &asked, "inner"));
        follow(&asked, TRACEPARENT);
    });
    assert_eq!(recorder.span("entered").parent_span_id, SpanId::from_hex("b7ad6b7169203331").unwrap());
    assert_eq!(recorder.span("asked").parent_span_id, SpanId::INVALID);
}

#[test]
fn an_unsampled_trace_is_followed_and_not_exported() {
    let mut headers = HeaderMap::new();
    let (recorder, _) = in_process(LogFormat::Json, || {
        let span = info_span!("order.GetOrder");
        follow(&span, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00");
        span.in_scope(|| inject(&mut headers));
    });
    assert!(recorder.names().is_empty());
    let passed_on = headers["traceparent"].to_str().unwrap();
    assert!(passed_on.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && passed_on.ends_with("-00"));
}

#[test]
fn only_our_own_spans_are_exported_and_others_do_not_break_the_trace() {
    let (recorder, _) = in_process(LogFormat::Json, || {
        let _ours = info_span!("ours").entered();
        let expected = current_traceparent().unwrap();
        let _theirs = info_span!(target: "h2::codec", "theirs").entered();
        let _detail = tracing::debug_span!("detail").entered();
        assert_eq!(current_traceparent().unwrap(), expected);
        let _inner = info_span!(target: "tael_order::store", "inner").entered();
    });
    assert_eq!(recorder.names(), ["inner", "ours"]);
    let (ours, inner) = (recorder.span("ours"), recorder.span("inner"));
    assert_eq!(inner.parent_span_id, ours.span_context.span_id());
    let target = inner.attributes.iter().find(|attribute| attribute.key.as_str() == "target").unwrap();
    assert_eq!(target.value.as_str(), "tael_order::store");
}

#[test]
fn without_an_exporter_there_is_no_trace_context() {
    let mut headers = HeaderMap::new();
    let log = run(LogFormat::Json, None, || {
        let span = info_span!("order.GetOrder");
        follow(&span, TRACEPARENT);
        assert_eq!(traceparent_of(&span), None);
        let _span = span.entered();
        assert_eq!(current_traceparent(), None);
        assert_eq!(current_trace_id(), None);
        inject(&mut headers);
        tracing::info!("done");
    });
    assert!(headers.is_empty());
    let [line] = &log.lines()[..] else { panic!("expected one line: {}", log.text()) };
    assert_eq!(line.get("trace_id"), None);
}

#[derive(Debug, thiserror::Error)]
#[error("the order could not be stored")]
struct Failed(#[source] io::Error);

#[test]
fn a_json_line_carries_the_ids_of_its_trace_and_span_and_the_fields_of_its_spans() {
    let (recorder, log) = in_process(LogFormat::Json, || {
        let span = info_span!(
            "rpc",
            otel.name = "tael.order.v1.OrderService/CreateOrder",
            rpc.method = "tael.order.v1.OrderService/CreateOrder",
            tael.merchant_id = tracing::field::Empty,
            tael.payment_id = tracing::field::Empty,
            attempt = 1,
        );
        follow(&span, TRACEPARENT);
        let _span = span.entered();
        record("tael.merchant_id", "mer_1");
        record("tael.no_such_field", "lost");
        let _inner = info_span!("order.create", attempt = 2).entered();
        let _fieldless = info_span!("db.order.insert").entered();
        let error = Failed(io::Error::other("disk full"));
        let error: &(dyn std::error::Error + 'static) = &error;
        tracing::warn!(tael.order_id = %"ord_1", lines = 2, gift = true, error, "order {} refused", 7);
    });

    let [line] = &log.lines()[..] else { panic!("expected one line: {}", log.text()) };
    let timestamp = line["timestamp"].as_str().unwrap();
    assert!(
        timestamp.len() == "2026-03-01T08:00:00.123456Z".len() && timestamp.ends_with('Z'),
        "{timestamp}"
    );
    let mut rest = line.clone();
    rest.as_object_mut().unwrap().remove("timestamp");
    assert_eq!(
        rest,
        json!({
            "level": "WARN",
            "target": "tael_telemetry::setup::tests",
            "span": "order.create",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "span_id": recorder.span("db.order.insert").span_context.span_id().to_string(),
            "message": "order 7 refused",
            "fields": {
                "tael.merchant_id": "mer_1",
                "attempt": 2,
                "tael.order_id": "ord_1",
                "lines": 2,
                "gift": true,
                "error": "the order could not be stored: disk full",
            },
        })
    );
}

#[test]
fn a_span_is_named_in_lines_as_it_is_exported() {
    let (_, log) = in_process(LogFormat::Json, || {
        let name = "tael.order.v1.OrderService/GetOrder";
        let _span = info_span!("rpc", otel.name = name, tael.order_id = "ord_1").entered();
        tracing::info!("here");
    });
    assert_eq!(log.lines()[0]["span"], "tael.order.v1.OrderService/GetOrder");
}

#[test]
fn calls_of_stores_are_complete_when_exported() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let (recorder, _) = in_process(format, || {
            let _span = info_span!("db.order.insert").entered();
            let _inner = info_span!("redis.idempotency.begin").entered();
        });
        for (name, system) in [("db.order.insert", "postgresql"), ("redis.idempotency.begin", "redis")] {
            let span = recorder.span(name);
            assert_eq!(span.span_kind, SpanKind::Client);
            assert!(span.attributes.contains(&KeyValue::new("db.system.name", system)), "{span:?}");
        }
    }
}

#[test]
fn spans_that_say_nothing_to_a_line_are_made_for_traces_only() {
    for format in [LogFormat::Json, LogFormat::Text] {
        for exporting in [false, true] {
            let provider = SdkTracerProvider::builder().build();
            let log = run(format, exporting.then(|| provider.tracer("tael")), || {
                let call =
                    info_span!("rpc.client", otel.kind = "client", rpc.method = "M", server.address = "a");
                let statement = info_span!("db.order.insert");
                let told = info_span!("event.apply", tael.event_id = "evt_1");
                assert_eq!([call, statement].map(|span| span.is_disabled()), [!exporting; 2]);
                assert!(!told.is_disabled());
                tracing::info!(parent: &told, "here");
            });
            assert!(log.text().contains("evt_1"), "{}", log.text());
        }
    }
}

#[test]
fn only_an_error_makes_a_span_an_error() {
    let (recorder, _) = in_process(LogFormat::Json, || {
        info_span!("warned").in_scope(|| tracing::warn!(error = "once", "will be tried again"));
        info_span!("failed").in_scope(|| tracing::error!(error = "for ever", "given up"));
        info_span!("said").in_scope(|| record("otel.status_code", "ERROR"));
        let told = info_span!("told", otel.status_code = tracing::field::Empty);
        told.in_scope(|| record("otel.status_code", "ERROR"));
    });
    assert_eq!(recorder.span("warned").status, Status::Unset);
    assert_eq!(recorder.span("said").status, Status::Unset, "it has no such field");
    assert!(matches!(recorder.span("failed").status, Status::Error { .. }));
    assert!(matches!(recorder.span("told").status, Status::Error { .. }));
}

#[test]
fn a_span_can_be_linked_to_one_that_it_is_no_child_of() {
    let (recorder, _) = in_process(LogFormat::Json, || {
        let batch = info_span!("batch");
        let event = info_span!("event");
        follow(&event, TRACEPARENT);
        link(&event, &batch);
        let _batch = batch.entered();
    });
    let (batch, event) = (recorder.span("batch"), recorder.span("event"));
    let links: Vec<_> = event.links.iter().map(|link| &link.span_context).collect();
    assert_eq!(links, [&batch.span_context]);
    assert_eq!(event.parent_span_id, SpanId::from_hex("b7ad6b7169203331").unwrap());
}

#[test]
fn what_is_left_out_is_exported_neither_here_nor_elsewhere() {
    let mut headers = HeaderMap::new();
    let (recorder, _) = in_process(LogFormat::Json, || {
        let span = info_span!("poll");
        leave_out(&span);
        let _span = span.entered();
        let _inner = info_span!("inner").entered();
        inject(&mut headers);
    });
    assert!(recorder.names().is_empty());
    assert!(headers["traceparent"].to_str().unwrap().ends_with("-00"), "{headers:?}");
}

#[test]
fn a_json_line_stays_one_line_whatever_is_logged() {
    let (_, log) = in_process(LogFormat::Json, || tracing::info!(note = "a\n\"b\"\u{1b}", "first\nsecond"));
    let [line] = &log.lines()[..] else { panic!("expected one line: {}", log.text()) };
    assert_eq!(line["message"], "first\nsecond");
    assert_eq!(line["fields"]["note"], "a\n\"b\"\u{1b}");
}

#[test]
fn the_filter_decides_what_is_logged() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let (_, log) = in_process(format, || {
            tracing::debug!("quiet");
            tracing::info!("loud");
        });
        assert_eq!(log.text().lines().count(), 1, "{}", log.text());
        assert!(log.text().contains("loud"));
    }
}

#[test]
fn exporting_needs_a_runtime() {
    let error = exporting_provider("http://127.0.0.1:4317".to_owned(), "order".to_owned()).unwrap_err();
    assert!(matches!(error, TelemetryError::NoRuntime(_)));
}
