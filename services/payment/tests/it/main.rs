//! The payment service from outside: over gRPC, with a real PostgreSQL and Redis and the sandbox as the channel. The
//! order and merchant services are small fakes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod attempt_decision;
mod breaker;
mod callback;
mod channel_account;
mod close;
mod config;
mod conformance;
mod create;
mod fixture;
mod peers;
mod permutations;
mod poll;
mod read;
mod refund_execution;
mod statement;
mod trace;
