//! Looking makes no traces.

use tael_telemetry::{LogFormat, TelemetryConfig};

use crate::{Watch, hex};

/// This process exports its own spans to itself, as `tael up` does, while its pages are read. Telemetry is set up for the
/// whole process, so spans of other tests would come too; none of them opens any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_pages_nor_exports_make_spans() {
    let watch = Watch::start().await;
    let telemetry = tael_telemetry::init(TelemetryConfig {
        service: "tael".to_owned(),
        otlp_endpoint: Some(watch.collector.endpoint()),
        log_format: LogFormat::Text,
        log_filter: "off".to_owned(),
    })
    .unwrap();
    tracing::info_span!(target: "tael::quiet", "the only one").in_scope(|| ());
    for path in ["/", &format!("/traces/{}", hex(1)), "/?query=ord_1", "/api/traces", "/style.css"] {
        watch.get(path).await;
    }
    // All that waits is exported; a span of an export would be in a later one.
    tokio::task::spawn_blocking(move || telemetry.shutdown()).await.unwrap();
    let spans = watch.collector.traces().spans();
    assert_eq!(spans.iter().map(|span| &*span.name).collect::<Vec<_>>(), ["the only one"]);
}
