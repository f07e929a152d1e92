//! What is told of a call to a channel: its span's outcome, and how long it took.

use std::sync::LazyLock;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use tokio::time::Instant;
use tracing::Span;

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    tael_telemetry::seconds(
        "tael.channel.call.duration",
        "How long calls to channels took, by what came of them",
    )
});

/// What came of a call, whatever it was about. All channels have these and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The channel did what it was asked.
    Ok,
    /// The channel refused, and said so in a way that can be believed.
    Refused,
    /// There was an answer, but none that can be believed or understood.
    Unclear,
    /// There was no answer, or only that there is nobody to answer.
    Unavailable,
}

impl Outcome {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Unclear => "unclear",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether the call itself went wrong. A refusal did not: the channel did its work.
    fn is_fault(self) -> bool {
        match self {
            Self::Ok | Self::Refused => false,
            Self::Unclear | Self::Unavailable => true,
        }
    }
}

/// A call that is under way. One that nobody waits for any more had no answer.
#[derive(Debug)]
pub(crate) struct Call {
    channel: &'static str,
    operation: &'static str,
    /// With the empty attributes `tael.outcome` and `otel.status_code`.
    span: Span,
    begin: Instant,
    outcome: Outcome,
}

impl Call {
    /// Begins a call of a channel's operation, both by their names in metrics.
    pub(crate) fn begin(channel: &'static str, operation: &'static str, span: &Span) -> Self {
        Self { channel, operation, span: span.clone(), begin: Instant::now(), outcome: Outcome::Unavailable }
    }

    /// Ends it.
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let outcome = self.outcome.name();
        self.span.record("tael.outcome", outcome);
        if self.outcome.is_fault() {
            self.span.record("otel.status_code", "ERROR");
        }
        DURATION.record(
            self.begin.elapsed().as_secs_f64(),
            &[
                KeyValue::new("tael.channel", self.channel),
                KeyValue::new("tael.operation", self.operation),
                KeyValue::new("tael.outcome", outcome),
            ],
        );
    }
}
