//! The audit service from outside: gRPC in front, a real PostgreSQL behind, scripted peers beside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod audit_facts;
mod faults;
mod fixture;
mod money_audit;
mod peers;
