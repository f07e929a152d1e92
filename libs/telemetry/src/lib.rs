//! Logs, traces and metrics: where they go, and how a trace crosses from one service to the next.
//!
//! Code writes spans and events with `tracing`; a process calls [`init`] once, and [`Telemetry::shutdown`] before it
//! ends. Logs go to standard error. Spans of our own crates (targets that begin with `tael`, level INFO and above) go to
//! an OTLP collector when an endpoint is configured; without one there is no tracing layer at all, nothing is sampled,
//! and every function here that asks for the trace context finds none.
//!
//! What all services tell, by name, is listed in `docs/telemetry.md`. A name is a promise to dashboards and alerts. Spans:
//!
//! | name | made by |
//! | --- | --- |
//! | an RPC's full name | `tael_grpc`, on both sides of a call |
//! | `event.<kind>.<consumer>`, `event.batch.<consumer>` | `tael_eventlog` |
//! | `db.<aggregate>.<verb>`, `redis.<what>.<verb>` | functions that call a store; the exporter adds the rest |
//! | `channel.<channel>.<operation>`, `callback.<channel>` | the payment service |
//! | `webhook.deliver` | the notification service |
//! | `METHOD /route` | the gateway |
//!
//! Attributes of our own begin with `tael.`. A span that says what it is about declares its ids empty, and [`record`]
//! fills them in as they become known; those of a request are recorded by `tael_grpc::fields`. A span is an error
//! (`otel.status_code`) when something is at fault, not when somebody was refused. What only looks for work has a span
//! below INFO, or is left out with [`leave_out`].
//!
//! Spans are cheap where nothing is exported, as the bench `spans` measures: one with no field that a log line would
//! repeat is not made at all, for example those of stores, and the fields of others are kept as values until there is a
//! line to write. Work that is done only to be measured is left undone if not [`is_exporting`].
//!
//! Metrics go to the same collector every ten seconds. Code measures with the instruments that [`meter`] makes, how long
//! calls take with [`seconds`]; without an endpoint they do nothing. They have no exemplars: the SDK (0.33) has a place for
//! them and puts none there.
//!
//! A trace follows the work through W3C Trace Context: [`inject`] writes the current span's context into the headers of
//! an outgoing call, [`follow_headers`] makes a span continue the trace of an incoming one, and for work that waits in a
//! database, [`current_traceparent`] gives the text to store and [`follow`] takes it up again. What strangers send is
//! only linked to, with [`link_headers`].
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
    current_trace_id, current_traceparent, follow, follow_headers, inject, leave_out, link, link_headers,
    record, traceparent_of,
};
pub use metrics::{is_exporting, meter, seconds};
pub use setup::{Telemetry, TelemetryError, init};
