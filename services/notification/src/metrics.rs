//! What is measured of an attempt to deliver: its span's outcome, and how long it took.

use std::sync::LazyLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Histogram;
use tracing::Span;

use crate::domain::delivery::AttemptResult;

static DURATION: LazyLock<Histogram<f64>> = LazyLock::new(|| {
    tael_telemetry::seconds(
        "tael.webhook.attempt.duration",
        "How long tries to deliver webhooks took, by what came of them",
    )
});

/// Records what came of an attempt, in its span and in the metric.
pub(crate) fn attempt(result: &AttemptResult, duration: Duration) {
    let span = Span::current();
    let outcome = match result {
        AttemptResult::Answered(200..=299) => "delivered",
        AttemptResult::Answered(_) => "refused",
        AttemptResult::Unanswered(_) => "unanswered",
    };
    span.record("tael.outcome", outcome);
    match result {
        AttemptResult::Answered(status) => span.record("http.response.status_code", status),
        // A few fixed words, never the error itself, which may hold the URL.
        AttemptResult::Unanswered(reason) => span.record("error.type", reason.as_str()),
    };
    if outcome != "delivered" {
        span.record("otel.status_code", "ERROR");
    }
    DURATION.record(duration.as_secs_f64(), &[KeyValue::new("tael.outcome", outcome)]);
}
