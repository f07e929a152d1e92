//! The event log: append, serve, consume.
//!
//! A service appends events in the transaction that makes them true ([`EventLog::append`]) and serves its log over
//! gRPC ([`EventLog::server`]). A consumer ([`Consumer`]) pulls, applies a batch and moves its cursor in one
//! transaction of its own database: delivery at least once, effect exactly once.

mod consumer;
mod horizon;
mod kind;
mod log;

pub use consumer::{ApplyError, ConsumeError, Consumer, Handler, Received};
pub use kind::{KINDS, kind_name};
pub use log::{EventLog, NewEvent};

/// The schema of the log, the cursors and the events set aside; to be run before a service's own migrations.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();
