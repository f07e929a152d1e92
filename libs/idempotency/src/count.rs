//! How calls fare, as a metric.

use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;

/// What was found under the key of a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// Nothing: the call does its work.
    First,
    /// The answer or the refusal of an earlier call.
    Replayed,
    /// Another request.
    Conflict,
    /// A call in progress that did not end in time.
    InProgress,
    /// Nobody knows, as Redis was no help: the call does its work under the database guard alone.
    Degraded,
}

#[derive(Clone, Debug)]
pub(crate) struct Calls(Counter<u64>);

impl Calls {
    pub(crate) fn new() -> Self {
        let counter = tael_telemetry::meter()
            .u64_counter("tael.idempotency.calls")
            .with_unit("{call}")
            .with_description("calls with an idempotency key, by what was found under the key")
            .build();
        Self(counter)
    }

    pub(crate) fn count(&self, method: &'static str, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::First => "first",
            Outcome::Replayed => "replayed",
            Outcome::Conflict => "conflict",
            Outcome::InProgress => "in_progress",
            Outcome::Degraded => "degraded",
        };
        self.0.add(1, &[KeyValue::new("method", method), KeyValue::new("outcome", outcome)]);
    }
}
