//! Merchants.

use jiff::Timestamp;
use tael_ids::MerchantId;

/// Somebody who sells through the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merchant {
    pub(crate) id: MerchantId,
    pub(crate) name: String,
    pub(crate) state: State,
    /// The IANA name of the zone in which settlement days are cut.
    pub(crate) time_zone: String,
    pub(crate) create_time: Timestamp,
}

/// Where a merchant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Registered; payments are refused.
    PendingApproval,
    /// May take live money since then.
    Approved { at: Timestamp },
}

/// What a command did to a merchant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transition {
    /// The merchant moves to this state.
    To(State),
    /// It stood there already.
    AlreadyDone,
}

impl State {
    /// Approves a merchant.
    pub(crate) fn approve(self, now: Timestamp) -> Transition {
        match self {
            Self::PendingApproval => Transition::To(Self::Approved { at: now }),
            Self::Approved { .. } => Transition::AlreadyDone,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_and_command() {
        let (then, now) = (Timestamp::from_second(1).unwrap(), Timestamp::from_second(2).unwrap());
        let table = [
            (State::PendingApproval, Transition::To(State::Approved { at: now })),
            (State::Approved { at: then }, Transition::AlreadyDone),
        ];
        for (state, expected) in table {
            assert_eq!(state.approve(now), expected, "{state:?}");
        }
    }
}
