//! A refund and its states.
//!
//! ```text
//! pending approval ─ approve ─▶ processing ─ evidence ─▶ succeeded
//!        │                          └────── evidence ─▶ failed
//!        └──── reject ─▶ rejected
//! ```
//!
//! A refund that the policy approves begins in "processing".

use jiff::Timestamp;
use tael_ids::{LineId, MerchantId, OrderId, PaymentId, RefundId};
use tael_money::Money;

/// Money to be given back for an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refund {
    pub(crate) id: RefundId,
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    /// The payment to be refunded.
    pub(crate) payment_id: PaymentId,
    /// Above zero.
    pub(crate) amount: Money,
    /// The lines it covers; empty when it is not by line.
    pub(crate) lines: Vec<RefundedLine>,
    /// The reason that the buyer is shown.
    pub(crate) reason: String,
    pub(crate) state: State,
    /// Who approved or rejected it; none when the policy approved it.
    pub(crate) operator: Option<String>,
    pub(crate) create_time: Timestamp,
    pub(crate) vouchers: VoucherUses,
}

/// What a refund takes of its order's vouchers, besides the units of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VoucherUses {
    /// Whether the order service has yet to confirm that it set them aside. No money moves before.
    pub(crate) unreserved: bool,
    /// Whether the refund takes all that was left of the order, and so of every voucher.
    pub(crate) takes_everything: bool,
    /// Why units that were used are refunded all the same; empty when they are not to be.
    pub(crate) force_reason: String,
}

/// The reason of the failure of a refund that covers units which were used.
pub(crate) const VOUCHER_USED: &str = "VOUCHER_USED";

/// What the order service says about the uses that a refund takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reservation {
    /// They are set aside.
    Reserved,
    /// So many units of a line were used.
    Used {
        /// The first such line.
        line_id: LineId,
        /// How many units of it.
        used: u32,
    },
    /// The order service refuses the refund for another reason, and has set nothing aside.
    Refused(String),
}

/// A line that a refund covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RefundedLine {
    pub(crate) line_id: LineId,
    pub(crate) quantity: u32,
    /// What these units are worth.
    pub(crate) amount: Money,
}

/// Where a refund stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Above the policy's limit; the amount is set aside.
    PendingApproval,
    /// Approved; the payment service is asked until its answer is final.
    Processing,
    /// The channel moved the money.
    Succeeded { end_time: Timestamp },
    /// It will not happen; the amount was given back.
    Failed { end_time: Timestamp, reason: String },
    /// A person said no; the amount was given back.
    Rejected { end_time: Timestamp },
}

/// A person's word on a refund that awaits approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Approve,
    Reject,
}

/// The payment service's final word on a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Succeeded,
    /// With the unified reason.
    Failed(String),
}

/// A refund's name and how it ended.
#[derive(Clone, Debug)]
pub(crate) struct RefundOutcome {
    pub(crate) merchant_id: MerchantId,
    pub(crate) refund_id: RefundId,
    pub(crate) outcome: Outcome,
}

/// What the payment service is told to refund.
#[derive(Clone, Debug)]
pub(crate) struct Instruction {
    pub(crate) merchant_id: MerchantId,
    pub(crate) refund_id: RefundId,
    pub(crate) payment_id: PaymentId,
    pub(crate) amount: Money,
    pub(crate) reason: String,
    /// How many calls gave no final answer so far.
    pub(crate) tries: u32,
}

impl Instruction {
    /// The first instruction for a refund.
    pub(crate) fn first(refund: &Refund) -> Self {
        Self {
            merchant_id: refund.merchant_id,
            refund_id: refund.id,
            payment_id: refund.payment_id,
            amount: refund.amount,
            reason: refund.reason.clone(),
            tries: 0,
        }
    }
}

/// What a command does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The refund moves on.
    Move,
    /// It moved on by the same command before; nothing is to be done.
    Already,
}

/// The refund's state does not allow the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the refund's state does not allow this")]
pub(crate) struct NotAllowed;

impl State {
    /// The name as it is stored.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::PendingApproval => "pending_approval",
            Self::Processing => "processing",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Rejected { .. } => "rejected",
        }
    }

    /// When it ended.
    pub(crate) fn end_time(&self) -> Option<Timestamp> {
        match self {
            Self::PendingApproval | Self::Processing => None,
            Self::Succeeded { end_time } | Self::Failed { end_time, .. } | Self::Rejected { end_time } => {
                Some(*end_time)
            }
        }
    }

    /// Takes the payment service's final word. A word that contradicts an earlier end is not allowed.
    pub(crate) fn complete(&self, outcome: &Outcome) -> Result<Step, NotAllowed> {
        match (self, outcome) {
            (Self::Processing, Outcome::Succeeded | Outcome::Failed(_)) => Ok(Step::Move),
            (Self::Succeeded { .. }, Outcome::Succeeded) | (Self::Failed { .. }, Outcome::Failed(_)) => {
                Ok(Step::Already)
            }
            (Self::Succeeded { .. }, Outcome::Failed(_))
            | (Self::Failed { .. }, Outcome::Succeeded)
            | (Self::PendingApproval | Self::Rejected { .. }, Outcome::Succeeded | Outcome::Failed(_)) => {
                Err(NotAllowed)
            }
        }
    }
}

impl Refund {
    /// Takes a person's word. The same word of the same operator again changes nothing.
    pub(crate) fn decide(&self, decision: Decision, operator: &str) -> Result<Step, NotAllowed> {
        let same_operator = self.operator.as_deref() == Some(operator);
        match (&self.state, decision) {
            (State::PendingApproval, Decision::Approve | Decision::Reject) => Ok(Step::Move),
            (State::Processing | State::Succeeded { .. } | State::Failed { .. }, Decision::Approve)
            | (State::Rejected { .. }, Decision::Reject)
                if same_operator =>
            {
                Ok(Step::Already)
            }
            (
                State::Processing | State::Succeeded { .. } | State::Failed { .. } | State::Rejected { .. },
                Decision::Approve | Decision::Reject,
            ) => Err(NotAllowed),
        }
    }
}

#[cfg(test)]
mod tests {
    use tael_money::Currency;

    use super::*;

    fn states() -> [State; 5] {
        let end_time = Timestamp::UNIX_EPOCH;
        [
            State::PendingApproval,
            State::Processing,
            State::Succeeded { end_time },
            State::Failed { end_time, reason: "DECLINED".to_owned() },
            State::Rejected { end_time },
        ]
    }

    fn refund(state: State, operator: Option<&str>) -> Refund {
        Refund {
            id: RefundId::new(),
            merchant_id: MerchantId::new(),
            order_id: OrderId::new(),
            payment_id: PaymentId::new(),
            amount: Money::new(1, Currency::CNY),
            lines: Vec::new(),
            reason: "wrong size".to_owned(),
            state,
            operator: operator.map(str::to_owned),
            create_time: Timestamp::UNIX_EPOCH,
            vouchers: VoucherUses::default(),
        }
    }

    const MOVE: Result<Step, NotAllowed> = Ok(Step::Move);
    const ALREADY: Result<Step, NotAllowed> = Ok(Step::Already);
    const NO: Result<Step, NotAllowed> = Err(NotAllowed);

    #[test]
    fn every_state_meets_every_decision() {
        // pending approval, processing, succeeded, failed, rejected
        let table = [
            (Decision::Approve, "mei", [MOVE, ALREADY, ALREADY, ALREADY, NO]),
            (Decision::Approve, "bo", [MOVE, NO, NO, NO, NO]),
            (Decision::Reject, "mei", [MOVE, NO, NO, NO, ALREADY]),
            (Decision::Reject, "bo", [MOVE, NO, NO, NO, NO]),
        ];
        for (decision, operator, expected) in table {
            for (state, expected) in states().into_iter().zip(expected) {
                let decided_by = (state != State::PendingApproval).then_some("mei");
                let refund = refund(state, decided_by);
                assert_eq!(
                    refund.decide(decision, operator),
                    expected,
                    "{decision:?} by {operator}: {refund:?}"
                );
            }
        }
    }

    #[test]
    fn a_refund_that_the_policy_approved_is_nobodys_to_decide() {
        let refund = refund(State::Processing, None);
        assert_eq!(refund.decide(Decision::Approve, "mei"), NO);
        assert_eq!(refund.decide(Decision::Reject, "mei"), NO);
    }

    #[test]
    fn every_state_meets_every_outcome() {
        let table = [
            (Outcome::Succeeded, [NO, MOVE, ALREADY, NO, NO]),
            (Outcome::Failed("DECLINED".to_owned()), [NO, MOVE, NO, ALREADY, NO]),
        ];
        for (outcome, expected) in table {
            for (state, expected) in states().into_iter().zip(expected) {
                assert_eq!(state.complete(&outcome), expected, "{outcome:?}: {state:?}");
            }
        }
    }
}
