//! How long to wait before the payment service is asked again.

use std::time::Duration;

use tael_ids::RefundId;

const FIRST: Duration = Duration::from_secs(2);
const LAST: Duration = Duration::from_mins(5);

/// Returns the pause after so many unclear answers (at least 1): it doubles, and is between three quarters of that and
/// the whole. The refund's id decides where, so that refunds that failed together are not tried together.
pub(crate) fn pause(tries: u32, refund_id: RefundId) -> Duration {
    let doubled = FIRST.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(LAST);
    // The last byte of a UUIDv7 is random.
    let random = u32::from(refund_id.uuid().as_bytes()[15]);
    doubled.saturating_sub(doubled / 4 * random / 255)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let id = RefundId::from_uuid(uuid::Uuid::nil());
        let seconds: Vec<u64> = [1, 2, 3, 8, 9, 100].map(|tries| pause(tries, id).as_secs()).to_vec();
        assert_eq!(seconds, [2, 4, 8, 256, 300, 300]);
    }

    #[test]
    fn pauses_differ_between_refunds_by_a_quarter_at_most() {
        let earliest = RefundId::from_uuid(uuid::Uuid::max());
        assert_eq!(pause(2, earliest), Duration::from_secs(3));
    }
}
