//! Black-box tests: the service runs with a database of its own, its peers are small gRPC servers in the test.
#![expect(clippy::unwrap_used, reason = "a test ends where it finds what must not be")]

mod create;
mod decide;
mod fields;
mod fixture;
mod outcome;
mod peers;
mod read;
mod refund_policy;
mod restart;
mod vouchers;
