//! The event log: append, serve, consume.
//!
//! A service appends events in the transaction that makes them true ([`EventLog::append`]) and serves its log over
//! gRPC ([`EventLog::server`]). A consumer ([`Consumer`]) pulls, applies a batch and moves its cursor in one
//! transaction of its own database: delivery at least once, effect exactly once. An event that can't be applied becomes
//! a dead letter, listed and replayed by RPC ([`DeadLetters`]). Old events that every consumer has applied may be removed
//! ([`EventLog::prune`]).
//!
//! # Order
//!
//! The log's order is (transaction, sequence): the order in which the database gave the appending transactions their
//! ids, and within a transaction the order of appending. Every reader sees the same order, and none of it changes
//! afterwards. What follows for the events of one aggregate:
//!
//! - Those of one transaction come in the order in which they were appended.
//! - What a transaction appended that began to write after another was committed comes after what that one appended.
//! - Of two transactions that ran at once the one that was committed later may come first. PostgreSQL gives an id with
//!   the first write, and a row lock counts as one. So a transaction that locks the aggregate's row by `select … for
//!   update` before it writes anything else takes its turn and its id together, and its events come in the order of
//!   commits. One that wrote before (a consumer's batch, which moves its cursor first, or work on several aggregates)
//!   may have the older id although it had to wait for the lock.
//!
//! Handlers therefore take the events of one aggregate by what they say and not by which came first, as they must for
//! those of two services anyhow.

mod consumer;
pub mod crash_points;
mod dead_letter;
mod handler;
mod horizon;
mod kind;
mod log;
mod prune;
mod read;
mod registry;
mod server;

pub use consumer::{ConsumeError, Consumer};
pub use dead_letter::DeadLetters;
pub use handler::{ApplyError, Handler, Received};
pub use kind::{EventKind, event_kind, kind_name, kinds};
pub use log::{EventLog, NewEvent};
pub use read::{Page, ReadError};

/// The schema of the log, the cursors and the dead letters; to be run before a service's own migrations.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// That schema, and what a service needs to work with it.
pub const SCHEMA: tael_postgres::Schema =
    tael_postgres::Schema { migrator: &MIGRATOR, grants: include_str!("../grants.sql") };
