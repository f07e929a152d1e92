//! The one rule by which a result between two minor units becomes a whole number of them.

/// `numerator / denominator`, rounded to the nearest whole number, halves away from zero.
///
/// It is the rule of the invoice and the school book: 0.5 fen becomes 1 fen, −0.5 fen becomes −1 fen. It is the rule
/// by which channels state their fees, so that fees computed here match their bills; and because it treats both signs
/// alike, reversing an amount gives exactly the reversed result. (Rounding halves to even, the usual alternative,
/// removes a bias in long sums of halves; here sums are kept exact by [`allocate`](crate::allocate) instead.)
///
/// # Panics
/// When `denominator` is not positive.
pub const fn round_half_up(numerator: i128, denominator: i128) -> i128 {
    assert!(denominator > 0, "a share is of something");
    let quotient = numerator / denominator;
    let rest = (numerator % denominator).unsigned_abs();
    // rest < denominator ≤ i128::MAX, so that comparing with the other part avoids doubling, which could overflow.
    let round_away = rest >= denominator.unsigned_abs() - rest;
    if round_away { quotient + numerator.signum() } else { quotient }
}
