//! The order service as its callers see it: over gRPC, on real PostgreSQL and Redis. The payment and the refund
//! service are small fakes that serve what a test tells them to.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cancel;
mod create;
mod expiry;
mod fixture;
mod free;
mod idempotency;
mod late_payment;
mod paid;
mod peers;
mod promotion;
mod read;
mod reference;
mod refunded;
mod reversed;
mod unapplied_payment;
mod unapplied_refund;
mod voucher;
mod voucher_reservation;
