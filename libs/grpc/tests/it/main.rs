//! The plumbing around gRPC calls, seen by callers over real connections.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod balance;
mod client_trace;
mod connections;
mod deadline;
mod fields;
mod health;
mod limit;
mod lost;
mod reflection;
mod server;
mod tls;
mod trace;
mod unreadable;
