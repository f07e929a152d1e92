//! What becomes of callers when the database can't do what they ask: each is told to call again, nothing is lost, and
//! it goes on by itself.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod grant;
mod lost;
mod migrate;
mod read_only;
mod refused;
mod tls;
