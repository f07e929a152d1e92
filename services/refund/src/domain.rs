//! What a refund is and what is allowed. Pure: no clock, no database, no wire.

mod backoff;
mod order;
mod refund;
mod refund_policy;
mod share;

pub(crate) use backoff::Backoff;
pub(crate) use order::{PaidLine, PaidOrder};
pub(crate) use refund::{
    Decision, Instruction, NotAllowed, Outcome, Refund, RefundOutcome, RefundedLine, Reservation, State,
    Step, VOUCHER_USED, VoucherUses,
};
pub(crate) use refund_policy::RefundPolicy;
pub(crate) use share::{LineBalance, LineQuantity, Refusal, Scope, Share, share};
