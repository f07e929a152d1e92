//! The event log on a real database, read over real gRPC.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod consume;
mod kinds;
mod order;
mod poison;
mod read;
mod source;
mod wait;
