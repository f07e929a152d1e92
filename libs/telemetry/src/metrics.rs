use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry::metrics::{Histogram, Meter};
use opentelemetry_otlp::{MetricExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};

use crate::setup::TelemetryError;

/// The standard variable for the time between two exports in milliseconds; the SDK reads it and keeps its name to itself
/// (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).
const OTEL_METRIC_EXPORT_INTERVAL: &str = "OTEL_METRIC_EXPORT_INTERVAL";

/// How often metrics are exported, unless `OTEL_METRIC_EXPORT_INTERVAL` says otherwise. The SDK's own minute is too
/// coarse to see an outage of seconds.
const EXPORT_INTERVAL: Duration = Duration::from_secs(10);

/// Whether [`init`](crate::init) was called with an endpoint.
static EXPORTING: AtomicBool = AtomicBool::new(false);

pub(crate) fn begin_exporting() {
    EXPORTING.store(true, Ordering::Relaxed);
}

/// Says whether anything is exported, which is settled by [`init`](crate::init): ask after it. For work that is done only
/// to be measured, such as counting rows; the instruments themselves need no such question.
pub fn is_exporting() -> bool {
    EXPORTING.load(Ordering::Relaxed)
}

/// The maker of counters, histograms and gauges, all under the scope `tael`.
///
/// An instrument belongs to the telemetry that is set up when it is made: one that is made before [`init`](crate::init)
/// measures nothing for ever, at the cost of a call that does nothing, and so does every one when nothing is exported.
/// So make instruments when they are first needed, for example in a `LazyLock`, and keep them: making one takes locks.
///
/// Attributes must have few values, never ids: every combination is a time series. Beyond 2,000 of one instrument the
/// SDK sums them up under `otel.metric.overflow`.
pub fn meter() -> Meter {
    opentelemetry::global::meter("tael")
}

/// The upper bounds, in seconds, of a histogram of how long calls took: a call within the platform takes some
/// milliseconds, one to a channel or a merchant up to ten seconds. The SDK's own are made for milliseconds.
const CALL_SECONDS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// A histogram of how long something took, in seconds with the bounds of all calls. Keep it, as [`meter`] says.
pub fn seconds(name: &'static str, description: &'static str) -> Histogram<f64> {
    let meter = meter();
    let histogram = meter.f64_histogram(name).with_unit("s").with_description(description);
    histogram.with_boundaries(CALL_SECONDS.to_vec()).build()
}

pub(crate) fn exporting_provider(
    endpoint: String,
    service: String,
) -> Result<SdkMeterProvider, TelemetryError> {
    tokio::runtime::Handle::try_current()?;
    let exporter = MetricExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let reader = PeriodicReader::builder(exporter);
    let reader = match std::env::var_os(OTEL_METRIC_EXPORT_INTERVAL) {
        Some(_) => reader,
        None => reader.with_interval(EXPORT_INTERVAL),
    };
    Ok(SdkMeterProvider::builder()
        .with_resource(Resource::builder().with_service_name(service).build())
        .with_reader(reader.build())
        .build())
}
