//! Refunds as the channel executes them: `pending → succeeded | failed`.

use jiff::Timestamp;
use tael_ids::{AttemptId, MerchantId, PaymentId, RefundId};
use tael_money::{Money, MoneyError};

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
    /// What is left of the payment is no amount.
    Amount(MoneyError),
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
    let refundable_minor = payment.refundable().map_err(CannotReserve::Amount)?.minor();
    if amount.minor() > refundable_minor { Err(CannotReserve::Exceeds { refundable_minor }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use tael_ids::OrderId;
    use tael_money::Currency;

    use super::*;

    fn payment(state: PaymentState, refunded: i64, reserved: i64) -> Payment {
        let cny = |minor| Money::new(minor, Currency::CNY);
        Payment {
            merchant_id: MerchantId::new(),
            id: PaymentId::new(),
            order_id: OrderId::new(),
            amount: cny(100),
            captured: cny(100),
            state,
            subject: String::new(),
            refunded: cny(refunded),
            refund_reserved: cny(reserved),
            create_time: Timestamp::UNIX_EPOCH,
            expire_time: Timestamp::UNIX_EPOCH,
            attempts: Vec::new(),
        }
    }

    #[test]
    fn only_money_that_came_and_is_left_can_be_reserved() {
        let paid = PaymentState::Succeeded { pay_time: Timestamp::UNIX_EPOCH };
        let exceeds = |refundable_minor| Err(CannotReserve::Exceeds { refundable_minor });
        for (state, refunded, reserved, amount, expected) in [
            (PaymentState::Created, 0, 0, 1, Err(CannotReserve::NotSucceeded)),
            (PaymentState::Pending, 0, 0, 1, Err(CannotReserve::NotSucceeded)),
            (PaymentState::Closed, 0, 0, 1, Err(CannotReserve::NotSucceeded)),
            (PaymentState::Failed, 0, 0, 1, Err(CannotReserve::NotSucceeded)),
            (paid, 0, 0, 1, Ok(())),
            (paid, 0, 0, 100, Ok(())),
            (paid, 0, 0, 101, exceeds(100)),
            (paid, 60, 0, 40, Ok(())),
            (paid, 60, 0, 41, exceeds(40)),
            (paid, 60, 30, 10, Ok(())),
            (paid, 60, 30, 11, exceeds(10)),
            (paid, 0, 100, 1, exceeds(0)),
            (paid, 0, 0, i64::MAX, exceeds(100)),
        ] {
            let amount = Money::new(amount, Currency::CNY);
            let payment = payment(state, refunded, reserved);
            assert_eq!(check_reservation(&payment, amount), expected, "{payment:?} {amount}");
        }
        let dollar = Money::new(1, Currency::USD);
        assert_eq!(check_reservation(&payment(paid, 0, 0), dollar), Err(CannotReserve::OtherCurrency));
    }
}
