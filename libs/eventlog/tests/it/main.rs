//! The event log on a real database, read over real gRPC.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod aggregate;
mod consume;
mod dead_letter;
mod flood;
mod kinds;
mod lease;
mod metrics;
mod order;
mod outage;
mod poison;
mod read;
mod registry;
mod retention;
mod silent;
mod source;
mod trace;
mod wait;
