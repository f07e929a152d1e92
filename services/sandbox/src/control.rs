//! The control interface: JSON over HTTP under `/control`, to play the payer and to make things go wrong. It is no part
//! of any channel's protocol, and the same for every channel: `/control/{channel}/…`, such as `/control/alipay/trades`.
//!
//! These are its messages; [`ControlClient`](crate::ControlClient) sends them. Only what an account is registered with is
//! the channel's own (Alipay: [`RegisterApp`](crate::alipay::RegisterApp)). Amounts are whole minor units, times are
//! RFC 3339. Errors are answered as [`ControlFailure`] with status 400 (malformed), 404 (unknown), 409 (not possible in
//! the present state).
//!
//! Words: a *trade* is a payment as the channel sees it, an *account* is what a call authenticates as (Alipay: the app), a
//! *merchant* is whose money it is (Alipay: the seller); several accounts may belong to one merchant.

pub(crate) mod messages;
pub(crate) mod routes;

pub use messages::*;
