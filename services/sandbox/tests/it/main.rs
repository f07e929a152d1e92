//! The sandbox seen from outside: a bound server, real signatures, a merchant that wrote its own signer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bad_input;
mod calls;
mod charset;
mod console;
mod control;
mod coupons;
mod faults;
mod independence;
mod keys;
mod later;
mod merchant;
mod notifications;
mod refunds;
mod second_channel;
mod signatures;
mod statements;
