//! Unapplied payments: money that came when its order did not wait for it, and what becomes of it.
//!
//! ```text
//!            ┌── refused ──┐
//!            ▼             │
//!  (new) ─▶ held ─▶ refunding ─▶ refunded
//!            │                      ▲
//!            ├───── reversed ───────┘
//!            └─▶ accepted
//! ```
//!
//! The merchant's policy decides in which state it begins. `accepted` and `refunded` are ends.

use jiff::Timestamp;
use tael_ids::{MerchantId, OrderId, PaymentId, RefundId};
use tael_money::Money;

use super::order::{State as OrderState, UnappliedReason};

/// The key of an unapplied payment.
pub(crate) type Key = (MerchantId, OrderId, PaymentId);

/// What is done with a late payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Held until somebody decides.
    Hold,
    /// The order takes it and is paid after all.
    Accept,
    /// The payer gets it back.
    Refund,
}

/// What is done with money that no order can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverpaymentAction {
    Hold,
    Refund,
}

/// A merchant's decision about late payments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LatePaymentPolicy {
    /// For the total of an order that was given up.
    pub(crate) closed_order: Action,
    /// For everything else.
    pub(crate) overpayment: OverpaymentAction,
}

impl Default for LatePaymentPolicy {
    /// The policy of a merchant who set none.
    fn default() -> Self {
        Self { closed_order: Action::Hold, overpayment: OverpaymentAction::Hold }
    }
}

impl LatePaymentPolicy {
    /// Decides on money that an order could not take for this reason.
    pub(crate) fn decide(self, reason: UnappliedReason) -> Action {
        match (reason, self.overpayment) {
            (UnappliedReason::ClosedOrder, _) => self.closed_order,
            (UnappliedReason::AlreadyPaid | UnappliedReason::Amount, OverpaymentAction::Hold) => Action::Hold,
            (UnappliedReason::AlreadyPaid | UnappliedReason::Amount, OverpaymentAction::Refund) => {
                Action::Refund
            }
        }
    }
}

/// Money that came for an order when it could not take it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnappliedPayment {
    pub(crate) order_id: OrderId,
    pub(crate) payment_id: PaymentId,
    pub(crate) amount: Money,
    /// By the channel's clock; the hold's time when that is not known.
    pub(crate) pay_time: Timestamp,
    pub(crate) hold_time: Timestamp,
    pub(crate) reason: UnappliedReason,
    pub(crate) state: State,
}

/// What became of an unapplied payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Awaits a decision, perhaps because the channel refused to give it back.
    Held { refused: Option<RefusedRefund> },
    /// On its way back to the payer by this refund.
    Refunding { refund_id: RefundId },
    /// The payer got it back.
    Refunded { refund_id: RefundId, at: Timestamp },
    /// The order took it.
    Accepted { at: Timestamp },
}

/// A refund that will not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefusedRefund {
    pub(crate) refund_id: RefundId,
    pub(crate) reason: String,
}

/// A refund of an unapplied payment that is to be asked for.
#[derive(Clone, Debug)]
pub(crate) struct DueRefund {
    pub(crate) key: Key,
    pub(crate) refund_id: RefundId,
    pub(crate) amount: Money,
    /// How many calls gave no final answer.
    pub(crate) tries: u32,
    /// The trace in which it was decided.
    pub(crate) traceparent: String,
}

/// A person's decision about an unapplied payment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resolution {
    Accept,
    Refund,
}

/// What a decision comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// It is carried out.
    Do,
    /// It was taken before.
    AlreadyDone,
    /// This state, of the money or of its order, does not allow it.
    Refuse { state: &'static str },
}

/// How a refund of an unapplied payment ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RefundOutcome {
    /// The refund that we asked for moved it.
    Refunded,
    /// The refund that we asked for will not happen.
    Refused(String),
    /// The channel gave it back unasked.
    Reversed,
}

impl State {
    /// The state's name, as it is stored and shown in errors.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Held { .. } => "held",
            Self::Refunding { .. } => "refunding",
            Self::Refunded { .. } => "refunded",
            Self::Accepted { .. } => "accepted",
        }
    }

    /// Returns where an outcome of a refund leads; none when it changes nothing, because it was heard before, is of a
    /// refund that another one took the place of, or because the money has found its end.
    pub(crate) fn after(&self, refund: RefundId, outcome: &RefundOutcome, now: Timestamp) -> Option<Self> {
        let refunded = Some(Self::Refunded { refund_id: refund, at: now });
        match (self, outcome) {
            (Self::Held { .. } | Self::Refunding { .. }, RefundOutcome::Reversed) => refunded,
            (Self::Refunding { refund_id }, RefundOutcome::Refunded) if *refund_id == refund => refunded,
            // Refused, and then moved all the same: where the money is decides.
            (Self::Held { refused: Some(refused) }, RefundOutcome::Refunded)
                if refused.refund_id == refund =>
            {
                refunded
            }
            (Self::Refunding { refund_id }, RefundOutcome::Refused(reason)) if *refund_id == refund => {
                Some(Self::Held {
                    refused: Some(RefusedRefund { refund_id: refund, reason: reason.clone() }),
                })
            }
            (
                Self::Held { .. } | Self::Refunding { .. },
                RefundOutcome::Refunded | RefundOutcome::Refused(_),
            )
            | (Self::Refunded { .. } | Self::Accepted { .. }, _) => None,
        }
    }
}

impl UnappliedPayment {
    /// Decides on a person's decision, as the order stands.
    pub(crate) fn resolve(&self, order: OrderState, how: Resolution) -> Decision {
        match (&self.state, how) {
            (State::Held { .. }, Resolution::Refund) => Decision::Do,
            (State::Held { .. }, Resolution::Accept) => match (order, self.reason) {
                (OrderState::Cancelled | OrderState::Expired, UnappliedReason::ClosedOrder) => Decision::Do,
                (
                    OrderState::Cancelled | OrderState::Expired,
                    UnappliedReason::AlreadyPaid | UnappliedReason::Amount,
                ) => Decision::Refuse { state: self.state.name() },
                (OrderState::PendingPayment | OrderState::Paid { .. }, _) => {
                    Decision::Refuse { state: order.name() }
                }
            },
            (State::Refunding { .. } | State::Refunded { .. }, Resolution::Refund)
            | (State::Accepted { .. }, Resolution::Accept) => Decision::AlreadyDone,
            (State::Refunding { .. } | State::Refunded { .. }, Resolution::Accept)
            | (State::Accepted { .. }, Resolution::Refund) => Decision::Refuse { state: self.state.name() },
        }
    }
}

#[cfg(test)]
mod tests {
    use tael_money::Currency;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    #[test]
    fn every_policy_and_reason() {
        for closed_order in [Action::Hold, Action::Accept, Action::Refund] {
            for (overpayment, expected) in
                [(OverpaymentAction::Hold, Action::Hold), (OverpaymentAction::Refund, Action::Refund)]
            {
                let policy = LatePaymentPolicy { closed_order, overpayment };
                assert_eq!(policy.decide(UnappliedReason::ClosedOrder), closed_order);
                assert_eq!(policy.decide(UnappliedReason::AlreadyPaid), expected);
                assert_eq!(policy.decide(UnappliedReason::Amount), expected);
            }
        }
        let nothing_set = LatePaymentPolicy::default();
        for reason in [UnappliedReason::ClosedOrder, UnappliedReason::AlreadyPaid, UnappliedReason::Amount] {
            assert_eq!(nothing_set.decide(reason), Action::Hold);
        }
    }

    #[test]
    fn every_state_and_outcome() {
        let (ours, other) = (RefundId::new(), RefundId::new());
        let refused = |refund_id| State::Held {
            refused: Some(RefusedRefund { refund_id, reason: "DECLINED".to_owned() }),
        };
        let no = RefundOutcome::Refused("DECLINED".to_owned());
        let fresh = State::Held { refused: None };
        let refunding = State::Refunding { refund_id: ours };
        let refunded = |refund_id| State::Refunded { refund_id, at: NOW };
        let accepted = State::Accepted { at: NOW };
        let table = [
            (&fresh, ours, RefundOutcome::Refunded, None),
            (&fresh, ours, no.clone(), None),
            (&fresh, other, RefundOutcome::Reversed, Some(refunded(other))),
            (&refused(ours), ours, RefundOutcome::Refunded, Some(refunded(ours))),
            (&refused(ours), other, RefundOutcome::Refunded, None),
            (&refused(ours), ours, no.clone(), None),
            (&refused(ours), other, RefundOutcome::Reversed, Some(refunded(other))),
            (&refunding, ours, RefundOutcome::Refunded, Some(refunded(ours))),
            (&refunding, other, RefundOutcome::Refunded, None),
            (&refunding, ours, no.clone(), Some(refused(ours))),
            (&refunding, other, no.clone(), None),
            (&refunding, other, RefundOutcome::Reversed, Some(refunded(other))),
            (&refunded(ours), ours, RefundOutcome::Refunded, None),
            (&refunded(ours), ours, no.clone(), None),
            (&refunded(ours), other, RefundOutcome::Reversed, None),
            (&accepted, ours, RefundOutcome::Refunded, None),
            (&accepted, ours, no, None),
            (&accepted, other, RefundOutcome::Reversed, None),
        ];
        for (state, refund, outcome, expected) in table {
            assert_eq!(state.after(refund, &outcome, NOW), expected, "{state:?} {outcome:?}");
        }
    }

    #[test]
    fn every_state_and_resolution() {
        let refund_id = RefundId::new();
        let paid = OrderState::Paid { payment_id: Some(PaymentId::new()), at: NOW };
        let orders = [OrderState::PendingPayment, paid, OrderState::Cancelled, OrderState::Expired];
        let reasons = [UnappliedReason::ClosedOrder, UnappliedReason::AlreadyPaid, UnappliedReason::Amount];
        let refused = RefusedRefund { refund_id, reason: "DECLINED".to_owned() };
        let states = [
            State::Held { refused: None },
            State::Held { refused: Some(refused) },
            State::Refunding { refund_id },
            State::Refunded { refund_id, at: NOW },
            State::Accepted { at: NOW },
        ];
        for state in states {
            for reason in reasons {
                for order in orders {
                    let held = UnappliedPayment {
                        order_id: OrderId::new(),
                        payment_id: PaymentId::new(),
                        amount: Money::new(1, Currency::CNY),
                        pay_time: NOW,
                        hold_time: NOW,
                        reason,
                        state: state.clone(),
                    };
                    let (accept, refund) = match held.state.name() {
                        "held" => (accept_held(order, reason), Decision::Do),
                        "accepted" => (Decision::AlreadyDone, Decision::Refuse { state: "accepted" }),
                        going_back => (Decision::Refuse { state: going_back }, Decision::AlreadyDone),
                    };
                    assert_eq!(held.resolve(order, Resolution::Accept), accept, "{held:?} {order:?}");
                    assert_eq!(held.resolve(order, Resolution::Refund), refund, "{held:?} {order:?}");
                }
            }
        }
    }

    /// Written the other way round: the order decides first.
    fn accept_held(order: OrderState, reason: UnappliedReason) -> Decision {
        match order.name() {
            "cancelled" | "expired" if reason == UnappliedReason::ClosedOrder => Decision::Do,
            "cancelled" | "expired" => Decision::Refuse { state: "held" },
            open => Decision::Refuse { state: open },
        }
    }
}
