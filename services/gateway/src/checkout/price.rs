//! An amount as buyers read it.

use tael_money::Money;

/// Writes the number in major units with all decimals of its currency and thousands apart: "1,234.50". Chinese and
/// English separate alike. The currency's code is shown beside it: "¥" or "$" alone would leave a choice of countries.
pub(crate) fn number(money: Money) -> String {
    let plain = money.to_decimal_string();
    let (whole, fraction) = plain.find('.').map_or((plain.as_str(), ""), |point| plain.split_at(point));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::with_capacity(plain.len() + digits.len() / 3);
    grouped.push_str(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped.push_str(fraction);
    grouped
}

#[cfg(test)]
mod tests {
    use tael_money::Currency;

    use super::*;

    #[test]
    fn thousands_are_apart_and_decimals_are_the_currency_s() {
        let cny = |minor| number(Money::new(minor, Currency::CNY));
        assert_eq!(cny(1), "0.01");
        assert_eq!(cny(99_999), "999.99");
        assert_eq!(cny(100_000), "1,000.00");
        assert_eq!(cny(123_456_789), "1,234,567.89");
        assert_eq!(cny(-100_000), "-1,000.00");
        assert_eq!(cny(i64::MAX), "92,233,720,368,547,758.07");
        assert_eq!(number(Money::new(1_234_567, Currency::JPY)), "1,234,567");
        assert_eq!(number(Money::new(1_234_567, Currency::KWD)), "1,234.567");
    }
}
