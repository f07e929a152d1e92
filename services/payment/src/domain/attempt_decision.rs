//! What people decide of an attempt whose channel gives no evidence: `requested → approved | rejected`.

use jiff::Timestamp;
use tael_ids::{AttemptDecisionId, AttemptId, MerchantId, PaymentId};

/// A decision to close an attempt.
#[derive(Clone, Debug)]
pub(crate) struct AttemptDecision {
    pub(crate) merchant_id: MerchantId,
    pub(crate) id: AttemptDecisionId,
    pub(crate) payment_id: PaymentId,
    pub(crate) attempt_id: AttemptId,
    pub(crate) state: DecisionState,
    pub(crate) reason: String,
    pub(crate) requested_by: String,
    pub(crate) request_time: Timestamp,
}

/// Where a decision stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DecisionState {
    /// Asked for; nothing has changed.
    Requested,
    /// A second person approved it, and the attempt is closed.
    Approved { by: String, time: Timestamp },
    /// A second person rejected it.
    Rejected { by: String, time: Timestamp },
}

/// Why a person can't decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CannotDecide {
    /// It is decided.
    Made,
    /// It takes a second person.
    SamePerson,
}

impl AttemptDecision {
    /// Decides whether a person may approve or reject. Names that differ only in case or in white space are one person's.
    pub(crate) fn check_decider(&self, operator: &str) -> Result<(), CannotDecide> {
        match self.state {
            DecisionState::Approved { .. } | DecisionState::Rejected { .. } => Err(CannotDecide::Made),
            DecisionState::Requested if folded(&self.requested_by) == folded(operator) => {
                Err(CannotDecide::SamePerson)
            }
            DecisionState::Requested => Ok(()),
        }
    }
}

fn folded(name: &str) -> String {
    name.to_lowercase().split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_a_second_person_and_only_once() {
        let decision = |state| AttemptDecision {
            merchant_id: MerchantId::new(),
            id: AttemptDecisionId::new(),
            payment_id: PaymentId::new(),
            attempt_id: AttemptId::new(),
            state,
            reason: String::new(),
            requested_by: "Li Lei".to_owned(),
            request_time: Timestamp::UNIX_EPOCH,
        };
        let requested = decision(DecisionState::Requested);
        assert_eq!(requested.check_decider("Han Meimei"), Ok(()));
        for same in ["Li Lei", "li lei", "LiLei", " Li  Lei"] {
            assert_eq!(requested.check_decider(same), Err(CannotDecide::SamePerson), "{same}");
        }
        let made = (String::new(), Timestamp::UNIX_EPOCH);
        for state in [
            DecisionState::Approved { by: made.0.clone(), time: made.1 },
            DecisionState::Rejected { by: made.0.clone(), time: made.1 },
        ] {
            assert_eq!(decision(state).check_decider("Han Meimei"), Err(CannotDecide::Made));
        }
    }
}
