//! Money as Alipay counts it: whole fen inside, yuan as a decimal string on the wire.
//!
//! Written for the sandbox alone, so that the adapter's amounts are checked by other code than its own.

use std::{
    fmt,
    iter::Sum,
    ops::{Add, Neg, Sub},
    str::FromStr,
};

/// An amount of renminbi in fen (hundredths of a yuan). `Display` is the wire form, `12.34`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Fen(pub(crate) i64);

impl Fen {
    pub(crate) const ZERO: Self = Self(0);
    /// The largest amount a call may name: 100,000,000 yuan (Alipay open platform: `total_amount`).
    const MAX_WIRE: i64 = 100_000_000 * 100;

    /// Reads an amount of a call: yuan with at most two decimals, from 0.01 to 100000000 (Alipay open platform:
    /// `total_amount`, `refund_amount`). `None` for everything else, including signs, exponents and blanks.
    pub(crate) fn from_wire(text: &str) -> Option<Self> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let has_point = whole.len() != text.len();
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || whole.len() > 9 || fraction.len() > 2 || (has_point && fraction.is_empty()) {
            return None;
        }
        if !digits(whole) || !digits(fraction) {
            return None;
        }
        let fen = format!("{whole}{fraction:0<2}").parse().ok()?;
        (1..=Self::MAX_WIRE).contains(&fen).then_some(Self(fen))
    }
}

// Every amount is bounded by `MAX_WIRE` or by the amount it is taken from, so a sum that does not fit is a mistake of the
// sandbox, which must not go on with a wrong amount.

impl Add for Fen {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.checked_add(other.0).expect("sums of amounts fit"))
    }
}

impl Sub for Fen {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.checked_sub(other.0).expect("differences of amounts fit"))
    }
}

impl Neg for Fen {
    type Output = Self;

    fn neg(self) -> Self {
        Self(self.0.checked_neg().expect("negated amounts fit"))
    }
}

impl Sum for Fen {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Add::add)
    }
}

impl fmt::Display for Fen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let fen = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", fen / 100, fen % 100)
    }
}

/// The fraction of a payment that Alipay keeps, in parts per million: `0.006` is 6000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeeRate {
    millionths: u32,
}

/// A fee rate that is no decimal fraction from 0 to 1 with at most six decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fee rate is a decimal fraction from 0 to 1 with at most six decimals")]
pub struct FeeRateError;

impl FeeRate {
    /// 0.6 %, the usual rate of a direct merchant.
    pub const DEFAULT: Self = Self { millionths: 6_000 };
    const ONE: u32 = 1_000_000;

    /// The fee of a payment, rounded half-up to the fen.
    pub(crate) fn of(self, total: Fen) -> Fen {
        share(total, i64::from(self.millionths), i64::from(Self::ONE))
    }
}

impl FromStr for FeeRate {
    type Err = FeeRateError;

    fn from_str(text: &str) -> Result<Self, FeeRateError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let one_digit = matches!(whole, "0" | "1");
        if !one_digit
            || fraction.is_empty()
            || fraction.len() > 6
            || !fraction.bytes().all(|b| b.is_ascii_digit())
        {
            return Err(FeeRateError);
        }
        let millionths = format!("{whole}{fraction:0<6}").parse().map_err(|_| FeeRateError)?;
        if millionths > Self::ONE { Err(FeeRateError) } else { Ok(Self { millionths }) }
    }
}

impl fmt::Display for FeeRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:06}", self.millionths / Self::ONE, self.millionths % Self::ONE);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

/// `amount × part ÷ whole`, rounded half-up to the fen. `part` lies between 0 and `whole`, which is positive, so the
/// result lies between 0 and `amount`.
pub(crate) fn share(amount: Fen, part: i64, whole: i64) -> Fen {
    let (amount, part, whole) = (i128::from(amount.0), i128::from(part), i128::from(whole));
    // Three factors below 2^63, 2^63 and 2: within 127 bits.
    let rounded = (2 * amount * part + whole) / (2 * whole);
    Fen(i64::try_from(rounded).expect("a share is no larger than the amount it is taken from"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wire_amounts() {
        for (text, fen) in [
            ("0.01", Some(1)),
            ("1", Some(100)),
            ("1.5", Some(150)),
            ("88.88", Some(8888)),
            ("100000000", Some(10_000_000_000)),
            ("100000000.01", None),
            ("0", None),
            ("0.00", None),
            ("-1", None),
            ("+1", None),
            ("1.", None),
            (".5", None),
            ("1.005", None),
            ("1e2", None),
            (" 1", None),
            ("1,000", None),
            ("", None),
            ("٣", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(Fen::from_wire(text), fen.map(Fen), "{text:?}");
        }
    }

    #[test]
    fn fees_round_half_up() {
        let rate: FeeRate = "0.006".parse().unwrap();
        for (total, fee) in [(10_000, 60), (83, 0), (84, 1), (250, 2), (1, 0), (10_000_000_000, 60_000_000)] {
            assert_eq!(rate.of(Fen(total)), Fen(fee), "{total}");
        }
    }

    #[test]
    fn rates_are_fractions() {
        for text in ["0", "0.006", "0.0038", "1", "0.123456"] {
            assert_eq!(text.parse::<FeeRate>().unwrap().to_string(), text);
        }
        for text in ["", "-0.1", "1.000001", "2", "0.1234567", "0,6", "00.1", "0.", "0.6%"] {
            assert_eq!(text.parse::<FeeRate>(), Err(FeeRateError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_survives_the_wire(fen in 1..=Fen::MAX_WIRE) {
            prop_assert_eq!(Fen::from_wire(&Fen(fen).to_string()), Some(Fen(fen)));
        }

        #[test]
        fn any_text_is_read_without_panic(text in ".*") {
            let _ = Fen::from_wire(&text);
            let _ = text.parse::<FeeRate>();
        }

        #[test]
        fn a_share_stays_within_its_amount(amount in 0..=Fen::MAX_WIRE, whole in 1..=Fen::MAX_WIRE, part in 0..=Fen::MAX_WIRE) {
            let part = part % (whole + 1);
            let share = share(Fen(amount), part, whole);
            prop_assert!(Fen::ZERO <= share && share <= Fen(amount));
        }
    }
}
