//! The payment service from outside: over gRPC, with a real PostgreSQL and Redis and the sandbox as the channel. The
//! order and merchant services are small fakes.

mod account;
mod bill;
mod close;
mod create;
mod notify;
mod peers;
mod poll;
mod read;
mod refund;
mod world;
