//! What a channel says, and what follows from it: one total function of state and evidence.

use jiff::Timestamp;
use serde_json::Value;
use tael_money::Money;

use super::next_action::NextAction;
use super::payment::{AttemptState, Failure};

/// What a channel says about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// The payer can pay, by doing this. `refs` is what the channel must be told later.
    ActionRequired { action: NextAction, refs: Value },
    /// It refused to let the payer pay. Says nothing of a call before.
    Refused(Failure),
    /// The payer's payment was declined, for good: of this transaction nothing more will come.
    #[cfg_attr(not(test), expect(dead_code, reason = "no channel of ours says so yet; cards do"))]
    Declined(Failure),
    /// It has no transaction of that number: nobody has scanned, or it was never told.
    Absent,
    /// It waits for the payer.
    Waiting,
    /// The payer paid.
    Paid(Paid),
    /// The payer paid, and all of it was given back: nothing is left of the transaction.
    Reversed(Paid),
    /// It ended without money, for good.
    Closed,
    /// It did not answer, or not clearly. Says nothing about what it did.
    Unknown {
        /// What stands in the way, as far as somebody said so who can't be believed.
        problem: Option<String>,
    },
}

impl Evidence {
    /// An answer that says nothing.
    pub(crate) const UNCLEAR: Self = Self::Unknown { problem: None };
}

/// What a channel says about money that it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paid {
    pub(crate) channel_transaction_id: String,
    pub(crate) amount: Money,
    /// What the channel pays out of it, before its own fee: less where the merchant funds a coupon. None: it did not say.
    pub(crate) received: Option<Money>,
    /// By the channel's clock.
    pub(crate) pay_time: Timestamp,
}

impl Paid {
    /// What the channel said that it pays out, if it can be true: no more than was paid.
    pub(crate) fn plausible_received(&self) -> Option<Money> {
        let received = self.received?;
        let plausible = received.currency() == self.amount.currency()
            && !received.is_negative()
            && received.minor() <= self.amount.minor();
        plausible.then_some(received)
    }
}

/// What follows from evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The state stays; whether a call is in doubt is now this.
    Stay { in_doubt: bool },
    /// Nothing can follow: the attempt has ended.
    Ended,
    /// The payer can pay from now on.
    AwaitPayer,
    /// The payment succeeded.
    Succeed,
    /// Money came and went, unless what went is a refund that we have asked for ourselves.
    Reverse,
    /// The payment is closed.
    Close,
    /// The payment failed.
    Fail,
}

/// Decides what follows from evidence. No evidence moves a state backwards, and none is not evidence of failure.
///
/// Money always counts: a payment that was closed or failed for us and is paid at the channel has succeeded, late.
/// Whether its order can still take the money is the order's matter.
pub(crate) fn judge(state: &AttemptState, evidence: &Evidence) -> Verdict {
    match (state, evidence) {
        (_, Evidence::Reversed(_)) => Verdict::Reverse,
        (AttemptState::Succeeded, _) => Verdict::Ended,
        (_, Evidence::Paid(_)) => Verdict::Succeed,
        (AttemptState::Closed | AttemptState::Failed(_), _) => Verdict::Ended,
        (AttemptState::Initiated | AttemptState::Pending { .. }, Evidence::Closed) => Verdict::Close,
        (AttemptState::Initiated, Evidence::ActionRequired { .. }) => Verdict::AwaitPayer,
        (AttemptState::Initiated, Evidence::Refused(_) | Evidence::Declined(_))
        | (AttemptState::Pending { .. }, Evidence::Declined(_)) => Verdict::Fail,
        // Whether the payer can pay is still open: we have nothing to show.
        (AttemptState::Initiated, Evidence::Absent | Evidence::Waiting | Evidence::Unknown { .. }) => {
            Verdict::Stay { in_doubt: true }
        }
        // A second initiation says nothing against the first.
        (
            AttemptState::Pending { .. },
            Evidence::ActionRequired { .. } | Evidence::Refused(_) | Evidence::Absent | Evidence::Waiting,
        ) => Verdict::Stay { in_doubt: false },
        (AttemptState::Pending { .. }, Evidence::Unknown { .. }) => Verdict::Stay { in_doubt: true },
    }
}

#[cfg(test)]
mod tests {
    use tael_money::Currency;

    use super::super::payment::FailureReason;
    use super::*;

    fn failure() -> Failure {
        Failure { reason: FailureReason::Declined, channel_code: "X".to_owned() }
    }

    fn paid() -> Paid {
        Paid {
            channel_transaction_id: "2026".to_owned(),
            amount: Money::new(1, Currency::CNY),
            received: None,
            pay_time: Timestamp::UNIX_EPOCH,
        }
    }

    /// Every state with every evidence.
    #[test]
    #[rustfmt::skip] // a table
    fn the_table_of_states_and_evidence() {
        use Verdict::{AwaitPayer, Close, Ended, Fail, Reverse, Stay, Succeed};
        let doubt = Stay { in_doubt: true };
        let clear = Stay { in_doubt: false };
        let evidence = [
            Evidence::ActionRequired { action: NextAction::Wait, refs: serde_json::json!({}) },
            Evidence::Refused(failure()),
            Evidence::Declined(failure()),
            Evidence::Absent,
            Evidence::Waiting,
            Evidence::Paid(paid()),
            Evidence::Reversed(paid()),
            Evidence::Closed,
            Evidence::Unknown { problem: None },
        ];
        let table = [
            // action     refused declined absent waiting paid  reversed closed unknown
            (AttemptState::Initiated,
             [AwaitPayer, Fail,  Fail,  doubt, doubt, Succeed, Reverse, Close, doubt]),
            (AttemptState::Pending { action: NextAction::Wait },
             [clear,      clear, Fail,  clear, clear, Succeed, Reverse, Close, doubt]),
            (AttemptState::Succeeded,
             [Ended,      Ended, Ended, Ended, Ended, Ended,   Reverse, Ended, Ended]),
            (AttemptState::Closed,
             [Ended,      Ended, Ended, Ended, Ended, Succeed, Reverse, Ended, Ended]),
            (AttemptState::Failed(failure()),
             [Ended,      Ended, Ended, Ended, Ended, Succeed, Reverse, Ended, Ended]),
        ];
        for (state, expected) in table {
            for (evidence, expected) in evidence.iter().zip(expected) {
                assert_eq!(judge(&state, evidence), expected, "{state:?} with {evidence:?}");
            }
        }
    }
}
