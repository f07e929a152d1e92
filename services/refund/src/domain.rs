//! What a refund is and what is allowed. Pure: no clock, no database, no wire.

mod backoff;
mod policy;
mod refund;
mod share;

pub(crate) use backoff::Backoff;
pub(crate) use policy::Policy;
pub(crate) use refund::{Decision, NotAllowed, Outcome, Refund, RefundedLine, State, Step};
pub(crate) use share::{LineBalance, LineQuantity, Refusal, Scope, Share, share};
