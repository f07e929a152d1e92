//! Refunds as the channel executes them.

use jiff::Timestamp;
use tael_ids::{AttemptId, MerchantId, PaymentId, RefundId};
use tael_money::Money;

use super::payment::{Failure, Payment, PaymentState, Schedule};

/// A refund of a part of a payment, or of all of it.
#[derive(Clone, Debug)]
pub(crate) struct Refund {
    pub(crate) merchant_id: MerchantId,
    pub(crate) id: RefundId,
    pub(crate) payment_id: PaymentId,
    /// The attempt that had taken the money.
    pub(crate) attempt_id: AttemptId,
    pub(crate) amount: Money,
    /// What the channel shows to the buyer.
    pub(crate) reason: String,
    pub(crate) state: RefundState,
    pub(crate) create_time: Timestamp,
    pub(crate) schedule: Schedule,
    /// The refund's trace; empty when it was not traced.
    pub(crate) traceparent: String,
}

/// Where a refund stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RefundState {
    /// The amount is reserved; the channel's answer is not known or not final.
    Pending,
    /// The channel moved the money at this time, by its own clock.
    Succeeded { refund_time: Timestamp },
    /// The channel refused; the reservation was released.
    Failed(Failure),
}

/// What a channel says about a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RefundEvidence {
    /// It moved the money.
    Refunded { refund_time: Timestamp },
    /// It refused.
    Refused(Failure),
    /// It knows no such refund: asked again with the same number it may still do it.
    Absent,
    /// It did not answer, or not clearly.
    Unknown,
}

/// Why an amount can't be reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CannotReserve {
    /// The payment has not brought any money.
    NotSucceeded,
    /// The amount is in another currency than the payment.
    OtherCurrency,
    /// The amount is larger than what is left.
    Exceeds { refundable_minor: i64 },
}

/// Decides whether an amount can be reserved for a refund.
pub(crate) fn check_reservation(payment: &Payment, amount: Money) -> Result<(), CannotReserve> {
    if amount.currency() != payment.amount.currency() {
        return Err(CannotReserve::OtherCurrency);
    }
    match payment.state {
        PaymentState::Succeeded { .. } => {}
        PaymentState::Created | PaymentState::Pending | PaymentState::Closed | PaymentState::Failed => {
            return Err(CannotReserve::NotSucceeded);
        }
    }
    let refundable_minor = payment.refundable_minor();
    if amount.minor() > refundable_minor { Err(CannotReserve::Exceeds { refundable_minor }) } else { Ok(()) }
}
