//! The settlement service from outside: gRPC in front, a real PostgreSQL and Redis behind, scripted peers beside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod by_hand;
mod constraints;
mod constraints_batches;
mod constraints_entries;
mod fee_schedule;
mod fixture;
mod idempotency;
mod ledger;
mod peers;
mod posting;
mod properties;
mod reconcile;
mod settlement_batch;
mod statement;
mod suspense;
