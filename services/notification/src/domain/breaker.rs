//! How much an endpoint is sent, by how it answers.
//!
//! ```text
//!              five failures in a row,
//!              or "slow down"               the pause ends           one fails
//!   healthy ──────────────────────▶ paused ───────────────▶ on trial ─────────▶ paused, for longer
//!      ▲                                                       │
//!      └──────────────────── one succeeds ─────────────────────┘
//! ```
//!
//! A paused endpoint is sent nothing, one on trial one delivery at a time. So what is dead costs its merchant's share little,
//! and what was overloaded is not met by everything at once. The state is in the database: replicas share it.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::domain::delivery::AttemptResult;

/// So many failures in a row pause an endpoint that did not ask for it.
pub(crate) const FAILURES_TO_PAUSE: i32 = 5;
/// The pauses, one after the other; the last one is repeated.
const PAUSES: [Duration; 7] = [
    Duration::from_secs(30),
    Duration::from_mins(1),
    Duration::from_mins(2),
    Duration::from_mins(5),
    Duration::from_mins(10),
    Duration::from_mins(30),
    Duration::from_hours(1),
];
/// A `Retry-After` that asks for more is taken for this.
pub(crate) const MAX_RETRY_AFTER: Duration = Duration::from_hours(1);

/// What an attempt says about its endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It answered 2xx.
    Good,
    /// It did not.
    Bad,
    /// It asks to be sent less, as the Standard Webhooks specification reads its status.
    Overloaded,
    /// It says that it will never be there again (410): it is to be disabled.
    Gone,
}

/// Says what an attempt tells of its endpoint.
pub(crate) fn health(result: &AttemptResult, retry_after: Option<Duration>) -> Health {
    match result {
        AttemptResult::Answered(200..=299) => Health::Good,
        AttemptResult::Answered(410) => Health::Gone,
        AttemptResult::Answered(429 | 502 | 504) => Health::Overloaded,
        AttemptResult::Answered(503) if retry_after.is_some() => Health::Overloaded,
        AttemptResult::Answered(_) | AttemptResult::Unanswered(_) => Health::Bad,
    }
}

/// The pauses, so many times shorter.
pub(crate) fn pauses(speed: NonZeroU32) -> [Duration; PAUSES.len()] {
    PAUSES.map(|pause| pause / speed.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_tell_of_the_endpoint() {
        let answered = |status| health(&AttemptResult::Answered(status), None);
        for (status, expected) in [
            (200, Health::Good),
            (204, Health::Good),
            (301, Health::Bad),
            (404, Health::Bad),
            (410, Health::Gone),
            (429, Health::Overloaded),
            (500, Health::Bad),
            (502, Health::Overloaded),
            (503, Health::Bad),
            (504, Health::Overloaded),
        ] {
            assert_eq!(answered(status), expected, "{status}");
        }
        assert_eq!(health(&AttemptResult::Answered(503), Some(Duration::ZERO)), Health::Overloaded);
        assert_eq!(health(&AttemptResult::Unanswered("timeout".to_owned()), None), Health::Bad);
    }

    #[test]
    fn pauses_grow_and_can_be_shortened() {
        assert!(pauses(NonZeroU32::MIN).is_sorted());
        assert_eq!(pauses(NonZeroU32::new(60).unwrap())[0], Duration::from_millis(500));
    }
}
