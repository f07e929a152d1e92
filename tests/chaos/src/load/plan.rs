//! What a journey is to be, decided by the run's seed and its number.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;

/// How a journey ends, if all goes as it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Paid, then redeemed and refunded as planned.
    Sell,
    /// Cancelled before there is a payment.
    CancelBare,
    /// Cancelled while the payer looks at the code.
    CancelUnpaid,
    /// Cancelled while the payer pays.
    CancelRace,
    /// Cancelled, and then paid: the channel refuses that, unless it only pretended to have closed the payment.
    LatePayer,
    /// Left to expire; some payers come too late.
    Expire,
}

/// A line to be ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// How many units.
    pub quantity: u32,
    /// The price of one, in fen.
    pub price_minor: i64,
    /// Whether it is a voucher.
    pub voucher: bool,
}

/// A refund to be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundPlan {
    /// So many percent of the order's total.
    Percent(i64),
    /// One unit of the first line.
    Unit,
    /// Everything that is left.
    Rest,
}

/// A journey.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Its number in the run.
    pub number: u64,
    /// Which shop sells.
    pub shop: usize,
    /// How it is to end.
    pub kind: Kind,
    /// What is ordered.
    pub lines: Vec<Line>,
    /// Whether vouchers are redeemed.
    pub redeem: bool,
    /// Whether two tills scan a voucher at once.
    pub double_scan: bool,
    /// The refunds, one after the other.
    pub refunds: Vec<RefundPlan>,
    /// Whether creating calls are sent twice at once, as an impatient client does.
    pub double_click: bool,
    /// For an order that is left to expire: whether there is a payment, and whether its payer comes late.
    pub late_payer: bool,
}

impl Plan {
    /// The journey of this number.
    pub fn new(seed: u64, number: u64, shops: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let lines = (0..rng.random_range(1..=3))
            .map(|_| Line {
                quantity: rng.random_range(1..=3),
                price_minor: rng.random_range(1..=300_00),
                voucher: rng.random_bool(0.4),
            })
            .collect();
        let kind = match rng.random_range(0..100) {
            0..70 => Kind::Sell,
            70..74 => Kind::CancelBare,
            74..80 => Kind::CancelUnpaid,
            80..90 => Kind::CancelRace,
            90..95 => Kind::LatePayer,
            _ => Kind::Expire,
        };
        let refunds = match rng.random_range(0..10) {
            0..5 => Vec::new(),
            5 => vec![RefundPlan::Percent(rng.random_range(1..=99))],
            6 => vec![RefundPlan::Unit],
            7 => vec![RefundPlan::Rest],
            8 => vec![RefundPlan::Percent(rng.random_range(1..=50)), RefundPlan::Rest],
            _ => vec![RefundPlan::Unit, RefundPlan::Percent(rng.random_range(1..=20)), RefundPlan::Rest],
        };
        Self {
            number,
            shop: rng.random_range(0..shops),
            kind,
            lines,
            redeem: rng.random_bool(0.7),
            double_scan: rng.random_bool(0.3),
            refunds,
            double_click: rng.random_bool(0.15),
            late_payer: rng.random_bool(0.6),
        }
    }

    /// What the order must cost, in fen: nothing is taken off, for the shops have no promotions.
    pub fn total_minor(&self) -> i64 {
        self.lines.iter().map(|line| i64::from(line.quantity) * line.price_minor).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_plan() {
        assert_eq!(Plan::new(3, 14, 4), Plan::new(3, 14, 4));
        assert_ne!(Plan::new(3, 14, 4), Plan::new(3, 15, 4));
    }

    #[test]
    fn all_kinds_come() {
        let kinds: std::collections::BTreeSet<Kind> =
            (0..200).map(|number| Plan::new(1, number, 4).kind).collect();
        assert_eq!(kinds.len(), 6);
    }
}
