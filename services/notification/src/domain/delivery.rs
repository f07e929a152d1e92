//! A delivery, its tries, and when the next one is due.

use std::num::NonZeroU32;
use std::time::Duration;

use jiff::Timestamp;
use tael_ids::{DeliveryId, EventId, WebhookEndpointId};

/// The pauses between tries that the Standard Webhooks specification recommends: the first try is immediate, the last
/// one three days later.
const PAUSES: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
    Duration::from_hours(5),
    Duration::from_hours(10),
    Duration::from_hours(14),
    Duration::from_hours(20),
    Duration::from_hours(24),
];

/// One event to be told to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) id: DeliveryId,
    pub(crate) endpoint_id: WebhookEndpointId,
    pub(crate) event_id: EventId,
    pub(crate) event_type: String,
    pub(crate) body: String,
    pub(crate) state: State,
    /// Oldest first.
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) create_time: Timestamp,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// To be sent, for the first time or again; with no time while its endpoint is disabled.
    Pending { next_attempt_time: Option<Timestamp> },
    /// The endpoint answered 2xx.
    Succeeded,
    /// All tries failed.
    Failed,
}

/// One try to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) time: Timestamp,
    pub(crate) duration: Duration,
    pub(crate) result: AttemptResult,
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttemptResult {
    /// The endpoint answered with this HTTP status.
    Answered(u16),
    /// There was no answer, for this reason in a few words.
    Unanswered(String),
}

/// What follows from a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// It arrived.
    Succeeded,
    /// It is tried again after this pause.
    RetryAfter(Duration),
    /// It is given up.
    Failed,
}

/// When deliveries are tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// So many times faster than recommended.
    pub(crate) speed: NonZeroU32,
}

impl Schedule {
    /// Says what follows from the result of a delivery's try, of which there were `tries` with this one; not before the
    /// endpoint wants to hear of it again.
    pub(crate) fn next(
        self,
        result: &AttemptResult,
        retry_after: Option<Duration>,
        tries: u32,
        id: DeliveryId,
    ) -> Next {
        if let AttemptResult::Answered(200..=299) = result {
            return Next::Succeeded;
        }
        let index = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(pause) = PAUSES.get(index) else { return Next::Failed };
        let pause = jitter(*pause / self.speed.get(), tries, id);
        Next::RetryAfter(pause.max(retry_after.unwrap_or_default()))
    }
}

/// Makes a pause up to a fifth longer, so that deliveries that failed together are not tried together. The random half
/// of the id decides, each try by another byte.
fn jitter(pause: Duration, tries: u32, id: DeliveryId) -> Duration {
    let byte = id.uuid().as_bytes()[9 + tries as usize % 7];
    pause + pause / 5 * u32::from(byte) / 255
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const RECOMMENDED: Schedule = Schedule { speed: NonZeroU32::MIN };

    #[test]
    fn two_hundreds_arrive_and_nothing_else() {
        let id = DeliveryId::new();
        let next = |result| RECOMMENDED.next(&result, None, 1, id);
        for status in [200, 204, 299] {
            assert_eq!(next(AttemptResult::Answered(status)), Next::Succeeded);
        }
        for status in [100, 199, 300, 301, 400, 404, 410, 500] {
            assert!(matches!(next(AttemptResult::Answered(status)), Next::RetryAfter(_)), "{status}");
        }
        assert!(matches!(next(AttemptResult::Unanswered("timeout".to_owned())), Next::RetryAfter(_)));
    }

    #[test]
    fn ten_tries_are_made() {
        let id = DeliveryId::from_uuid(Uuid::nil());
        let failed = AttemptResult::Answered(500);
        for (tries, pause) in (1..).zip(PAUSES) {
            assert_eq!(RECOMMENDED.next(&failed, None, tries, id), Next::RetryAfter(pause));
        }
        assert_eq!(RECOMMENDED.next(&failed, None, 10, id), Next::Failed);
        assert_eq!(RECOMMENDED.next(&failed, None, u32::MAX, id), Next::Failed);
    }

    #[test]
    fn pauses_are_spread_and_can_be_shortened() {
        let latest = DeliveryId::from_uuid(Uuid::max());
        let failed = AttemptResult::Answered(500);
        assert_eq!(RECOMMENDED.next(&failed, None, 1, latest), Next::RetryAfter(Duration::from_secs(6)));
        let asked = |seconds| RECOMMENDED.next(&failed, Some(Duration::from_secs(seconds)), 1, latest);
        assert_eq!(asked(60), Next::RetryAfter(Duration::from_mins(1)));
        assert_eq!(asked(1), Next::RetryAfter(Duration::from_secs(6)));
        let fast = Schedule { speed: NonZeroU32::new(1000).unwrap() };
        assert_eq!(fast.next(&failed, None, 2, latest), Next::RetryAfter(Duration::from_millis(360)));
    }
}
