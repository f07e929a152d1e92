//! The spans that a service would export.

use std::sync::{Arc, Mutex};

pub use opentelemetry::trace::SpanKind;
use opentelemetry::trace::{Status, TracerProvider as _};
use opentelemetry_sdk::error::OTelSdkResult;
pub use opentelemetry_sdk::trace::SpanData;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanExporter};
use tracing::subscriber::{DefaultGuard, NoSubscriber};
use tracing::{Dispatch, Level};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Records what would be exported of the work on this thread, until it is dropped. In a test on a runtime of one thread
/// that is all work.
#[derive(Debug)]
#[must_use = "nothing is recorded any more when it is dropped"]
pub struct Spans {
    ended: Ended,
    _here: DefaultGuard,
    _second: Dispatch,
}

#[derive(Clone, Debug, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Ended {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().expect("nothing panics while it holds the spans").extend(batch);
        Ok(())
    }
}

impl Spans {
    /// Begins to record.
    pub fn record() -> Self {
        // While there is one subscriber only, whether a span is of interest is decided for good by the thread that comes
        // there first, also by one of another test, which has no subscriber. With two, all of them are asked.
        let second = Dispatch::new(NoSubscriber::default());
        let ended = Ended::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(ended.clone()).build();
        let layer = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("tael"))
            .with_filter(Targets::new().with_target("tael", Level::INFO));
        let here = tracing_subscriber::registry().with(layer).set_default();
        Self { ended, _here: here, _second: second }
    }

    /// Returns the spans that have ended, in the order of their ends.
    pub fn ended(&self) -> Vec<SpanData> {
        self.ended.0.lock().expect("nothing panics while it holds the spans").clone()
    }

    /// Returns the names of the spans that have ended.
    pub fn names(&self) -> Vec<String> {
        self.ended().iter().map(|span| span.name.to_string()).collect()
    }

    /// Returns the first span of that name that has ended.
    ///
    /// # Panics
    ///
    /// There is none.
    pub fn named(&self, name: &str) -> SpanData {
        let mut spans = self.ended().into_iter();
        spans.find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {:?}", self.names()))
    }
}

/// Returns an attribute of a span as text.
pub fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let mut attributes = span.attributes.iter();
    attributes.find(|attribute| attribute.key.as_str() == name).map(|attribute| attribute.value.to_string())
}

/// Says whether a span tells of a fault.
pub fn is_error(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. })
}
