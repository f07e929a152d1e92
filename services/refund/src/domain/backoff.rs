//! How long to wait before the payment service is asked again.

use std::time::Duration;

use tael_ids::RefundId;

/// The longest pause between two tries.
const LAST: Duration = Duration::from_mins(5);

/// A pause that doubles with every try.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    /// The pause after the first unclear answer.
    pub(crate) first: Duration,
}

impl Backoff {
    /// Returns the pause after so many unclear answers (at least 1): between three quarters and the whole of the
    /// doubled pause. The refund's id decides where, so that refunds that failed together are not tried together.
    pub(crate) fn pause(self, tries: u32, refund_id: RefundId) -> Duration {
        let doubled = self.first.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LAST);
        // The last byte of a UUIDv7 is random.
        let random = u32::from(refund_id.uuid().as_bytes()[15]);
        doubled.saturating_sub(doubled / 4 * random / 255)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let backoff = Backoff { first: Duration::from_secs(2) };
        let id = RefundId::from_uuid(uuid::Uuid::nil());
        let seconds: Vec<u64> = [1, 2, 3, 8, 9, 100].map(|tries| backoff.pause(tries, id).as_secs()).to_vec();
        assert_eq!(seconds, [2, 4, 8, 256, 300, 300]);
    }

    #[test]
    fn pauses_differ_between_refunds_by_a_quarter_at_most() {
        let backoff = Backoff { first: Duration::from_secs(4) };
        let earliest = RefundId::from_uuid(uuid::Uuid::max());
        assert_eq!(backoff.pause(1, earliest), Duration::from_secs(3));
    }
}
