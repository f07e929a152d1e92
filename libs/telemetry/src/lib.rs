//! Logs, traces and metrics: where they go, and how a trace crosses from one service to the next.
//!
//! Code writes spans and events with `tracing`; a process calls [`init`] once, and [`Telemetry::shutdown`] before it
//! ends. Logs go to standard error. Spans of our own crates (targets that begin with `tael`, level INFO and above) go to
//! an OTLP collector when an endpoint is configured; without one there is no tracing layer at all, nothing is sampled,
//! and every function here that asks for the trace context finds none.
//!
//! Metrics go to the same collector every ten seconds. Code measures with the instruments that [`meter`] makes; without
//! an endpoint they do nothing.
//!
//! A trace follows the work through W3C Trace Context: [`inject`] writes the current span's context into the headers of
//! an outgoing call, [`follow_headers`] makes a span continue the trace of an incoming one, and for work that waits in a
//! database, [`current_traceparent`] gives the text to store and [`follow`] takes it up again.
//!
//! `service.name` is a property of the process. One process may run several services; which one a span belongs to is
//! told by its `target` attribute (the crate, for example `tael_order::usecase`) and by the span's name.

mod config;
mod context;
mod json;
mod metrics;
mod setup;
mod stores;

pub use config::{LogFormat, TelemetryConfig, UnknownLogFormat};
pub use context::{
    current_trace_id, current_traceparent, follow, follow_headers, inject, leave_out, link, record,
    traceparent_of,
};
pub use metrics::{CALL_SECONDS, meter};
pub use setup::{Telemetry, TelemetryError, init};
