use proptest::prelude::*;
use rust_decimal::{Decimal, RoundingStrategy};
use tael_money::{Currency, Money, ParseRateError, Rate, round_half_up};

use crate::any_currency;

#[test]
fn rates_are_fractions_in_plain_decimals() {
    for (text, shown) in [
        ("0.006", "0.006"),
        ("0", "0"),
        ("1", "1"),
        ("1.00", "1"),
        ("0.00600", "0.006"),
        ("0.00000001", "0.00000001"),
    ] {
        assert_eq!(Rate::parse(text).unwrap().to_string(), shown);
    }
    for text in ["", ".", "0.", ".006", "-0.1", "+0.1", "0.6%", "6e-3", "0_0.1", " 0.1", "0,1", "０"] {
        assert_eq!(Rate::parse(text), Err(ParseRateError::Malformed), "{text:?}");
    }
    for text in ["1.00000001", "2", "60", "99999999999999999999999999999999999"] {
        assert_eq!(Rate::parse(text), Err(ParseRateError::OutOfRange), "{text}");
    }
    for text in ["0.000000001", "0.0000000000000000000000000000000000001"] {
        assert_eq!(Rate::parse(text), Err(ParseRateError::TooPrecise), "{text}");
    }
    assert_eq!(Rate::try_from(Decimal::NEGATIVE_ONE), Err(ParseRateError::OutOfRange));
}

#[test]
fn halves_go_away_from_zero() {
    let half = Rate::parse("0.5").unwrap();
    for (amount, share) in [(1, 1), (2, 1), (3, 2), (-1, -1), (-3, -2), (0, 0)] {
        assert_eq!(half.of(Money::new(amount, Currency::CNY)).minor(), share, "half of {amount}");
    }
    for (numerator, denominator, rounded) in [
        (14, 10, 1),
        (15, 10, 2),
        (-14, 10, -1),
        (-15, 10, -2),
        (i128::MAX, i128::MAX, 1),
        (i128::MIN, 1, i128::MIN),
    ] {
        assert_eq!(round_half_up(numerator, denominator), rounded);
    }
}

#[test]
fn the_fee_of_the_main_journey() {
    let fee = Rate::parse("0.006").unwrap().of(Money::new(12_345, Currency::CNY));
    assert_eq!(fee.to_string(), "0.74 CNY"); // 0.74070
}

fn any_rate() -> impl Strategy<Value = Rate> {
    (0..=100_000_000_i64).prop_map(|parts| Rate::try_from(Decimal::new(parts, 8)).expect("within 0 and 1"))
}

proptest! {
    #[test]
    fn a_rate_is_read_back_from_its_text(rate in any_rate()) {
        prop_assert_eq!(rate.to_string().parse(), Ok(rate));
    }

    #[test]
    fn the_share_is_the_nearest_minor_unit(minor: i64, rate in any_rate(), currency in any_currency()) {
        let share = rate.of(Money::new(minor, currency));
        prop_assert_eq!(share.currency(), currency);
        let exact = Decimal::from(minor) * rate.to_decimal();
        let expected = exact.round_dp_with_strategy(0, RoundingStrategy::MidpointAwayFromZero);
        prop_assert_eq!(Decimal::from(share.minor()), expected);
    }

    #[test]
    fn no_share_is_larger_than_the_amount(minor: i64, rate in any_rate()) {
        let amount = Money::new(minor, Currency::JPY);
        prop_assert!(rate.of(amount).minor().unsigned_abs() <= minor.unsigned_abs());
        prop_assert_eq!(Rate::ONE.of(amount), amount);
        prop_assert!(Rate::ZERO.of(amount).is_zero());
    }
}
