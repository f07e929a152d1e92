use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_SCHEDULE_DELAY, SdkTracer, SdkTracerProvider,
};
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, Level};
use tracing_subscriber::filter::{FilterExt as _, ParseError, Targets, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, fmt};

use crate::config::{LogFormat, TelemetryConfig};
use crate::json::{self, JsonLines};
use crate::{metrics, stores};

/// How long a finished span waits to be sent, unless `OTEL_BSP_SCHEDULE_DELAY` says otherwise. The SDK's own five
/// seconds is long for an operator who waits to see what just happened.
const EXPORT_DELAY: Duration = Duration::from_secs(1);

/// How many finished spans wait to be sent at most, further ones are dropped, and how many are sent at once; unless
/// `OTEL_BSP_MAX_QUEUE_SIZE` and `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` say otherwise. A service has some thousands a second,
/// and a collector may pause for a moment; the SDK's own 2048 would not outlast it. Full, the queue takes some 20 MB.
const QUEUE: usize = 16_384;
const BATCH: usize = 2_048;

/// How long [`Telemetry::shutdown`] waits for the collector. Below the 30 s that Kubernetes gives a pod to end. For metrics
/// the SDK waits as long and takes no other wish.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The telemetry of a running process. Keep it until the end, then call [`Telemetry::shutdown`].
#[must_use = "spans and metrics that wait to be exported are lost without a call of `shutdown`"]
#[derive(Debug)]
pub struct Telemetry {
    /// `None` when nothing is exported.
    providers: Option<Providers>,
}

#[derive(Debug)]
struct Providers {
    spans: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// [`TelemetryConfig::log_filter`] is malformed.
    #[error("the log filter is malformed")]
    Filter(#[from] ParseError),
    /// The exporter cannot be built, for example because the endpoint is no URL.
    #[error("the exporter of traces or metrics cannot be built")]
    Exporter(#[from] ExporterBuildError),
    /// Something is to be exported, and the caller is not on a tokio runtime.
    #[error("traces and metrics can only be exported from within a tokio runtime")]
    NoRuntime(#[from] tokio::runtime::TryCurrentError),
    /// The process has a global subscriber already: `init` was called twice.
    #[error("telemetry is set up already")]
    AlreadyInitialized(#[from] TryInitError),
}

/// Sets up logs, traces and metrics for the whole process; to be called once.
///
/// With an endpoint configured it must be called on a tokio runtime, which carries the exporters' connections. They are
/// made when first needed, so an unreachable collector is no error here: it is logged, spans are dropped, metrics are
/// summed up until they can be sent, and the process works on.
pub fn init(config: TelemetryConfig) -> Result<Telemetry, TelemetryError> {
    let TelemetryConfig { service, otlp_endpoint, log_format, log_filter } = config;
    let providers = otlp_endpoint.map(|endpoint| Providers::exporting(endpoint, service)).transpose()?;
    let tracer = providers.as_ref().map(|providers| providers.spans.tracer("tael"));
    subscriber(log_format, &log_filter, tracer, std::io::stderr)?.try_init()?;
    // Ours to use directly; set for libraries that ask OpenTelemetry for the process's propagator.
    opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
    if let Some(providers) = &providers {
        opentelemetry::global::set_meter_provider(providers.metrics.clone());
        metrics::begin_exporting();
    }
    Ok(Telemetry { providers })
}

impl Telemetry {
    /// Exports what is still waiting, for at most five seconds. Spans that end later are dropped, and what is measured
    /// later is not told.
    ///
    /// Blocks the calling thread meanwhile. The runtime that [`init`] was called on must still run and have another
    /// thread to carry the connection, as tokio's multi-threaded runtime has; otherwise nothing more is exported.
    ///
    /// A collector that does not answer is logged and otherwise ignored: it must not change how a process ends.
    pub fn shutdown(self) {
        let Some(Providers { spans, metrics }) = self.providers else { return };
        // Both at once, so that a collector that hangs is waited for once.
        let (spans, metrics) = std::thread::scope(|scope| {
            let metrics = scope.spawn(|| metrics.shutdown_with_timeout(SHUTDOWN_TIMEOUT));
            (spans.shutdown_with_timeout(SHUTDOWN_TIMEOUT), metrics.join())
        });
        if let Err(error) = spans {
            tracing::warn!(%error, "the last spans could not be exported");
        }
        match metrics {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last metrics could not be exported"),
            Err(_panic) => tracing::warn!("the last metrics could not be exported"),
        }
    }
}

impl Providers {
    fn exporting(endpoint: String, service: String) -> Result<Providers, TelemetryError> {
        let spans = exporting_provider(endpoint.clone(), service.clone())?;
        let metrics = metrics::exporting_provider(endpoint, service)?;
        Ok(Providers { spans, metrics })
    }
}

fn exporting_provider(endpoint: String, service: String) -> Result<SdkTracerProvider, TelemetryError> {
    tokio::runtime::Handle::try_current()?;
    let exporter = SpanExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    // The builder has read the environment.
    let is_set = |name: &str| std::env::var_os(name).is_some();
    let mut batch = BatchConfigBuilder::default();
    if !is_set(OTEL_BSP_SCHEDULE_DELAY) {
        batch = batch.with_scheduled_delay(EXPORT_DELAY);
    }
    if !is_set(OTEL_BSP_MAX_QUEUE_SIZE) {
        batch = batch.with_max_queue_size(QUEUE);
    }
    if !is_set(OTEL_BSP_MAX_EXPORT_BATCH_SIZE) {
        batch = batch.with_max_export_batch_size(BATCH);
    }
    // The sampler stays the SDK's: all traces, unless the caller's trace is unsampled or OTEL_TRACES_SAMPLER is set.
    let exporter = stores::Exporter(exporter);
    Ok(SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name(service).build())
        .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batch.build()).build())
        .build())
}

pub(crate) fn subscriber<W>(
    log_format: LogFormat,
    log_filter: &str,
    tracer: Option<SdkTracer>,
    writer: W,
) -> Result<Dispatch, TelemetryError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // Our own spans only, made for traces and logs alike: the frames of h2 or the polls of a connection pool would bury the
    // story, and exporting them would make more of them. Since there are no others, the current span is always one that a
    // trace knows, and OpenTelemetry's own stack of contexts can be left alone.
    let ours = Targets::new().with_target("tael", Level::INFO);
    let worth_writing = filter_fn({
        let ours = ours.clone();
        move |metadata| {
            metadata.is_event()
                || ours.would_enable(metadata.target(), metadata.level())
                    && json::has_something_to_say(metadata)
        }
    })
    .with_max_level_hint(LevelFilter::TRACE);
    let logged: Targets = log_filter.parse()?;
    let logs = match log_format {
        LogFormat::Text => fmt::layer().with_writer(writer).boxed(),
        LogFormat::Json => JsonLines::new(writer).boxed(),
    };
    let registry = tracing_subscriber::registry();
    // Alone, what is not written is not made at all; a layer's own filter would be asked whenever a span is entered or left.
    let Some(tracer) = tracer else { return Ok(registry.with(logs).with(worth_writing).with(logged).into()) };
    let logs = logs.with_filter(logged.and(worth_writing));
    // `target` stays on, for it says which service of the process a span belongs to.
    let spans = tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_context_activation(false)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(ours);
    Ok(registry.with(logs).with(spans).into())
}

#[cfg(test)]
mod tests;
