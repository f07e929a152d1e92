//! Black-box tests: the service runs with a database of its own, the logs it reads and the endpoints it tells are
//! small servers in the test.
#![expect(clippy::unwrap_used, reason = "a test ends where it finds what must not be")]

mod attempts;
mod breaker;
mod deliveries;
mod endpoints;
mod fairness;
mod fields;
mod fixture;
mod logs;
mod receiver;
mod replay;
mod trace;
