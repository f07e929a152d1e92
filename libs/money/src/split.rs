//! Dividing a whole so that nothing is lost between its parts.

use std::cmp::Reverse;

use thiserror::Error;

use crate::{Money, round_half_up};

/// Why a whole could not be divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SplitError {
    /// There is no weight above zero, so that nobody can take a part.
    #[error("no weight is above zero")]
    NoWeight,
    /// A weight is below zero.
    #[error("a weight is below zero")]
    NegativeWeight,
    /// The progress does not satisfy `0 <= before <= after <= total` with `total` above zero.
    #[error("progress is not within its total")]
    NotWithinTotal,
}

/// Divides `total` among parts in proportion to `weights`, such as a discount among order lines by their prices.
///
/// The parts are as many as the weights, in their order, and add up to `total` exactly. Each is within one minor unit
/// of its exact share; a larger weight never gets a smaller part, and a zero weight gets nothing.
///
/// By largest remainder: every part gets its share rounded towards zero, and the minor units then left over go one
/// each to the parts that lost most by rounding, to the earlier one where two lost the same. A negative total is
/// divided like its opposite, with the signs turned. Not promised: that a larger *total* gives no part less (no
/// method that stays within one unit can always have that); for a whole handed out in steps use [`prorate_cumulative`].
///
/// # Panics
/// Never.
pub fn allocate(total: Money, weights: &[i64]) -> Result<Vec<Money>, SplitError> {
    if weights.iter().any(|&weight| weight < 0) {
        return Err(SplitError::NegativeWeight);
    }
    let whole_weight: i128 = weights.iter().copied().map(i128::from).sum();
    if whole_weight == 0 {
        return Err(SplitError::NoWeight);
    }

    // 64 bits times 64 bits fit into 128, so that every share below is exact.
    let amount = i128::from(total.minor()).abs();
    let exact = |weight: i64| amount * i128::from(weight);
    let mut parts: Vec<i128> = weights.iter().map(|&weight| exact(weight) / whole_weight).collect();

    let left_over = amount - parts.iter().sum::<i128>();
    let left_over = usize::try_from(left_over).expect("rounding loses less than one unit for each part");
    let mut by_loss: Vec<usize> = (0..weights.len()).collect();
    by_loss.sort_by_key(|&at| Reverse(exact(weights[at]) % whole_weight)); // stable: earlier first among equals
    for at in by_loss.into_iter().take(left_over) {
        parts[at] += 1;
    }

    let sign = i128::from(total.minor().signum());
    let money = |part: i128| {
        let minor = i64::try_from(part * sign).expect("a part is not larger than the whole");
        Money::new(minor, total.currency())
    };
    Ok(parts.into_iter().map(money).collect())
}

/// The share of `whole` that belongs to one step of a progress from `before` to `after` out of `total`.
///
/// It is the rounded share at `after` minus the rounded share at `before`, so that however the progress is cut into
/// steps, the shares add up: after the last step (`after == total`) to exactly `whole`. Used for a fee returned over
/// partial refunds: `whole` is the fee, `before` and `after` are the sums refunded before and after this refund, and
/// `total` is what was captured. The three may be in any one unit: minor units, pieces.
///
/// # Panics
/// Never.
pub fn prorate_cumulative(whole: Money, before: i64, after: i64, total: i64) -> Result<Money, SplitError> {
    let within = total > 0 && 0 <= before && before <= after && after <= total;
    if !within {
        return Err(SplitError::NotWithinTotal);
    }
    let share_at = |done: i64| round_half_up(i128::from(whole.minor()) * i128::from(done), i128::from(total));
    let minor = share_at(after) - share_at(before);
    let minor = i64::try_from(minor).expect("both shares lie between nothing and the whole");
    Ok(Money::new(minor, whole.currency()))
}
