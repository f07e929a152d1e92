use std::cmp::Ordering;

use proptest::prelude::*;
use tael_money::{Currency, Money, MoneyError, ParseAmountError};

use crate::any_currency;

fn cny(minor: i64) -> Money {
    Money::new(minor, Currency::CNY)
}

#[test]
fn text_has_all_decimals_of_the_currency() {
    for (minor, currency, text) in [
        (1230, Currency::CNY, "12.30"),
        (0, Currency::CNY, "0.00"),
        (-5, Currency::CNY, "-0.05"),
        (1230, Currency::JPY, "1230"),
        (0, Currency::JPY, "0"),
        (5, Currency::KWD, "0.005"),
        (i64::MIN, Currency::KWD, "-9223372036854775.808"),
    ] {
        let money = Money::new(minor, currency);
        assert_eq!(money.to_decimal_string(), text);
        assert_eq!(money.to_string(), format!("{text} {currency}"));
        assert_eq!(Money::parse_decimal(text, currency), Ok(money));
    }
}

#[test]
fn missing_decimals_are_zeros() {
    assert_eq!(Money::parse_decimal("7", Currency::CNY), Ok(cny(700)));
    assert_eq!(Money::parse_decimal("7.5", Currency::CNY), Ok(cny(750)));
    assert_eq!(Money::parse_decimal("-0", Currency::CNY), Ok(cny(0)));
    assert_eq!(Money::parse_decimal("007.50", Currency::CNY), Ok(cny(750)));
}

#[test]
fn only_plain_decimal_numbers_are_amounts() {
    for text in [
        "", "-", ".", "-.", "1.", ".5", "+1", "--1", "1-", " 1", "1 ", "1,000", "1_000", "1e3", "0x10",
        "1.2.3", "1.-2", "NaN", "inf", "¥1", "１", "1\0",
    ] {
        assert_eq!(Money::parse_decimal(text, Currency::CNY), Err(ParseAmountError::Malformed), "{text:?}");
    }
}

#[test]
fn fractions_of_a_minor_unit_are_refused() {
    for (text, currency) in [
        ("0.001", Currency::CNY),
        ("1.000", Currency::CNY),
        ("1.0", Currency::JPY),
        ("1.0000", Currency::KWD),
    ] {
        let refused = Err(ParseAmountError::TooPrecise { currency });
        assert_eq!(Money::parse_decimal(text, currency), refused, "{text}");
    }
}

#[test]
fn amounts_beyond_64_bits_are_refused() {
    for text in ["92233720368547758.08", "-92233720368547758.09", "99999999999999999999999999999999999999999"]
    {
        assert_eq!(Money::parse_decimal(text, Currency::CNY), Err(ParseAmountError::Overflow), "{text}");
    }
}

#[test]
fn overflow_is_an_error() {
    let (least, most) = (cny(i64::MIN), cny(i64::MAX));
    assert_eq!(most.checked_add(cny(1)), Err(MoneyError::Overflow));
    assert_eq!(least.checked_sub(cny(1)), Err(MoneyError::Overflow));
    assert_eq!(least.checked_neg(), Err(MoneyError::Overflow));
    assert_eq!(most.checked_mul(2), Err(MoneyError::Overflow));
    assert_eq!(least.checked_mul(-1), Err(MoneyError::Overflow));
    assert_eq!(Money::sum([most, cny(1)], Currency::CNY), Err(MoneyError::Overflow));
}

#[test]
fn only_the_final_sum_has_to_fit() {
    let (most, one) = (cny(i64::MAX), cny(1));
    assert_eq!(Money::sum([most, one, cny(-1)], Currency::CNY), Ok(most));
    assert_eq!(Money::sum([], Currency::CNY), Ok(cny(0)));
}

#[test]
fn currencies_do_not_mix() {
    let (yuan, yen) = (cny(1), Money::new(1, Currency::JPY));
    let mismatch = MoneyError::CurrencyMismatch { left: Currency::CNY, right: Currency::JPY };
    assert_eq!(yuan.checked_add(yen), Err(mismatch));
    assert_eq!(yuan.checked_sub(yen), Err(mismatch));
    assert_eq!(yuan.try_cmp(yen), Err(mismatch));
    assert_eq!(Money::sum([yuan, yen], Currency::CNY), Err(mismatch));
    assert_ne!(yuan, yen);
}

proptest! {
    #[test]
    fn text_is_read_back_as_the_same_amount(minor: i64, currency in any_currency()) {
        let money = Money::new(minor, currency);
        let text = money.to_decimal_string();
        prop_assert_eq!(Money::parse_decimal(&text, currency), Ok(money));
        let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        prop_assert_eq!(decimals, currency.exponent() as usize);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text: String, currency in any_currency()) {
        if let Ok(money) = Money::parse_decimal(&text, currency) {
            let digits = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
            prop_assert!(text.chars().all(digits), "{text:?} was read as {money}");
        }
    }

    #[test]
    fn number_like_text_is_read_exactly_or_refused(text in r"-?[0-9]{1,24}(\.[0-9]{1,5})?", currency in any_currency()) {
        let exact: rust_decimal::Decimal = text.parse().unwrap();
        let minor = exact * rust_decimal::Decimal::from(currency.minor_per_major());
        let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let expected = if decimals > currency.exponent() as usize {
            Err(ParseAmountError::TooPrecise { currency })
        } else {
            i64::try_from(minor).map(|minor| Money::new(minor, currency)).map_err(|_| ParseAmountError::Overflow)
        };
        prop_assert_eq!(Money::parse_decimal(&text, currency), expected);
    }

    #[test]
    fn arithmetic_is_exact_or_an_overflow(a: i64, b: i64, currency in any_currency()) {
        let (left, right) = (Money::new(a, currency), Money::new(b, currency));
        let exact = |value: i128| {
            i64::try_from(value).map(|minor| Money::new(minor, currency)).map_err(|_| MoneyError::Overflow)
        };
        let (wide_a, wide_b) = (i128::from(a), i128::from(b));
        prop_assert_eq!(left.checked_add(right), exact(wide_a + wide_b));
        prop_assert_eq!(left.checked_sub(right), exact(wide_a - wide_b));
        prop_assert_eq!(left.checked_mul(b), exact(wide_a * wide_b));
        prop_assert_eq!(left.checked_neg(), exact(-wide_a));
        prop_assert_eq!(Money::sum([left, right], currency), exact(wide_a + wide_b));
        prop_assert_eq!(left.try_cmp(right), Ok(a.cmp(&b)));
        prop_assert_eq!(left.try_cmp(left), Ok(Ordering::Equal));
    }
}
