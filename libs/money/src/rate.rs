//! A rate between nothing and everything, such as a fee of 0.6 %.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use thiserror::Error;

use crate::{Money, round_half_up};

/// A fraction of an amount: at least 0, at most 1, with at most eight decimals. `0.006` is 0.6 %.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(Decimal);

/// Why a text or number is not a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseRateError {
    /// Not of the form `0.006`: digits, and optionally a point followed by digits.
    #[error("is not a plain decimal number")]
    Malformed,
    /// Less than 0 or more than 1.
    #[error("must be between 0 and 1")]
    OutOfRange,
    /// More than eight decimals.
    #[error("must have at most {max} decimals", max = Rate::MAX_DECIMALS)]
    TooPrecise,
}

impl Rate {
    /// Nothing: the rate 0.
    pub const ZERO: Self = Self(Decimal::ZERO);
    /// Everything: the rate 1.
    pub const ONE: Self = Self(Decimal::ONE);
    /// How many decimals a rate may have.
    pub const MAX_DECIMALS: u32 = 8;

    /// Reads a rate such as `0.006`, `0` or `1.00`.
    pub fn parse(text: &str) -> Result<Self, ParseRateError> {
        // Decimal's own parser also takes signs and underscores; a rate has one spelling.
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let well_formed = match text.split_once('.') {
            Some((whole, fraction)) => plain(whole) && plain(fraction),
            None => plain(text),
        };
        if !well_formed {
            return Err(ParseRateError::Malformed);
        }
        // Well-formed digits fail only for being too many; which of the two limits they exceed decides the answer.
        let exact = Decimal::from_str_exact(text).map_err(|error| match error {
            rust_decimal::Error::Underflow => ParseRateError::TooPrecise,
            _ => ParseRateError::OutOfRange,
        })?;
        Self::try_from(exact)
    }

    /// The rate as a decimal number.
    pub const fn to_decimal(self) -> Decimal {
        self.0
    }

    /// This fraction of an amount, in its currency, rounded by [`round_half_up`].
    ///
    /// Cannot overflow: a rate is at most 1, so that the result is never further from zero than the amount.
    ///
    /// # Panics
    /// Never.
    pub fn of(self, amount: Money) -> Money {
        let numerator = i128::from(amount.minor()) * self.0.mantissa();
        let minor = round_half_up(numerator, 10_i128.pow(self.0.scale()));
        let minor = i64::try_from(minor).expect("a fraction of an amount is not larger than the amount");
        Money::new(minor, amount.currency())
    }
}

impl TryFrom<Decimal> for Rate {
    type Error = ParseRateError;

    fn try_from(value: Decimal) -> Result<Self, ParseRateError> {
        let value = value.normalize();
        if value < Decimal::ZERO || value > Decimal::ONE {
            Err(ParseRateError::OutOfRange)
        } else if value.scale() > Self::MAX_DECIMALS {
            Err(ParseRateError::TooPrecise)
        } else {
            Ok(Self(value))
        }
    }
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, ParseRateError> {
        Self::parse(text)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
