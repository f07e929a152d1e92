//! What a merchant allows.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use tael_money::{Currency, Money};

/// A merchant's policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RefundPolicy {
    /// So many days of 24 hours after the payment a refund can be requested.
    pub(crate) window_days: u16,
    /// Refunds up to so many minor units are approved by themselves; in other currencies all are.
    pub(crate) auto_approve_limits: BTreeMap<Currency, i64>,
}

impl Default for RefundPolicy {
    /// The policy of a merchant that has set none.
    fn default() -> Self {
        Self { window_days: 90, auto_approve_limits: BTreeMap::new() }
    }
}

impl RefundPolicy {
    /// Says whether a refund can still be requested. The last instant of the window belongs to it.
    pub(crate) fn window_open(&self, pay_time: Timestamp, now: Timestamp) -> bool {
        now.duration_since(pay_time) <= SignedDuration::from_hours(24 * i64::from(self.window_days))
    }

    /// Says whether a refund of this amount needs no person's approval.
    pub(crate) fn approves(&self, amount: Money) -> bool {
        self.auto_approve_limits.get(&amount.currency()).is_none_or(|limit| amount.minor() <= *limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_closes_after_its_last_instant() {
        let paid: Timestamp = "2026-03-01T08:00:00Z".parse().unwrap();
        let policy = RefundPolicy { window_days: 7, ..RefundPolicy::default() };
        for (now, open) in [
            ("2026-03-01T07:59:59Z", true), // the channel's clock is ahead of ours
            ("2026-03-01T08:00:00Z", true),
            ("2026-03-08T08:00:00Z", true),
            ("2026-03-08T08:00:00.000001Z", false),
        ] {
            assert_eq!(policy.window_open(paid, now.parse().unwrap()), open, "{now}");
        }
    }

    #[test]
    fn limits_hold_per_currency() {
        let limits = BTreeMap::from([(Currency::CNY, 10_000), (Currency::USD, 0)]);
        let policy = RefundPolicy { auto_approve_limits: limits, ..RefundPolicy::default() };
        for (amount, approved) in [
            (Money::new(10_000, Currency::CNY), true),
            (Money::new(10_001, Currency::CNY), false),
            (Money::new(1, Currency::USD), false),
            (Money::new(i64::MAX, Currency::JPY), true),
        ] {
            assert_eq!(policy.approves(amount), approved, "{amount}");
        }
    }
}
