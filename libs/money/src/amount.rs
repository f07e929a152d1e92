//! An amount of money in minor units, with checked arithmetic and exact decimal text.

use std::cmp::Ordering;
use std::fmt;

use rust_decimal::Decimal;
use thiserror::Error;

use crate::Currency;

/// An amount of money: whole minor units of one currency. May be negative (a debt, a reversal).
///
/// There is deliberately no `Ord` and no `+`: amounts of different currencies cannot be compared or added, so those
/// operations are methods that say so in their result.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

/// Why two amounts could not be combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MoneyError {
    /// The result does not fit into 64 bits of minor units.
    #[error("amount overflows")]
    Overflow,
    /// The amounts are in different currencies.
    #[error("currencies differ: {left} and {right}")]
    CurrencyMismatch {
        /// Currency of the amount the method was called on.
        left: Currency,
        /// Currency of the other amount.
        right: Currency,
    },
}

/// Why a text is not an amount of the given currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseAmountError {
    /// Not of the form `-12.34`: an optional minus sign, digits, and optionally a point followed by digits.
    #[error("not a plain decimal number")]
    Malformed,
    /// More decimals than the currency has.
    #[error("more than the {exponent} decimals of {currency}", exponent = currency.exponent())]
    TooPrecise {
        /// The currency the amount was read in.
        currency: Currency,
    },
    /// The amount does not fit into 64 bits of minor units.
    #[error("amount overflows")]
    Overflow,
}

impl Money {
    /// An amount of `minor` minor units: `Money::new(1234, Currency::CNY)` is 12.34 yuan.
    pub const fn new(minor: i64, currency: Currency) -> Self {
        Self { minor, currency }
    }

    /// Nothing, in this currency.
    pub const fn zero(currency: Currency) -> Self {
        Self::new(0, currency)
    }

    /// The amount in minor units.
    pub const fn minor(self) -> i64 {
        self.minor
    }

    /// The currency of the amount.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// Whether the amount is zero.
    pub const fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// Whether the amount is greater than zero.
    pub const fn is_positive(self) -> bool {
        self.minor > 0
    }

    /// Whether the amount is less than zero.
    pub const fn is_negative(self) -> bool {
        self.minor < 0
    }

    /// The sum of two amounts of one currency.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        self.with(self.minor.checked_add(other.minor))
    }

    /// The difference of two amounts of one currency.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        self.with(self.minor.checked_sub(other.minor))
    }

    /// The amount with its sign turned. Only the least amount of all has no opposite.
    pub fn checked_neg(self) -> Result<Self, MoneyError> {
        self.with(self.minor.checked_neg())
    }

    /// The amount `times` times, as in unit price × quantity.
    pub fn checked_mul(self, times: i64) -> Result<Self, MoneyError> {
        self.with(self.minor.checked_mul(times))
    }

    /// Compares two amounts of one currency.
    pub fn try_cmp(self, other: Self) -> Result<Ordering, MoneyError> {
        self.same_currency(other)?;
        Ok(self.minor.cmp(&other.minor))
    }

    /// The sum of any number of amounts, all of which must be in `currency`; zero when there are none.
    ///
    /// Only the final sum has to fit, so the order of the amounts never matters.
    pub fn sum(amounts: impl IntoIterator<Item = Self>, currency: Currency) -> Result<Self, MoneyError> {
        let zero = Self::zero(currency);
        let mut sum = 0_i128;
        for amount in amounts {
            zero.same_currency(amount)?;
            sum = sum.checked_add(i128::from(amount.minor)).ok_or(MoneyError::Overflow)?;
        }
        zero.with(i64::try_from(sum).ok())
    }

    /// The amount in major units, exactly: 1234 fen are 12.34.
    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.minor, self.currency.exponent())
    }

    /// The amount in major units as text, always with all decimals of its currency and never with a separator:
    /// `12.30` (CNY), `-1230` (JPY), `0.005` (KWD).
    pub fn to_decimal_string(self) -> String {
        self.to_decimal().to_string()
    }

    /// Reads an amount in major units, such as `12.34`, `-0.5` or `7`.
    ///
    /// Refuses everything but an optional minus sign, digits and one point between digits. Refuses more decimals than
    /// the currency has, even zeros: whoever writes `100.00` for yen is thinking of another currency.
    pub fn parse_decimal(text: &str, currency: Currency) -> Result<Self, ParseAmountError> {
        let (negative, number) = match text.strip_prefix('-') {
            Some(number) => (true, number),
            None => (false, text),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (number, None),
        };
        if !is_digits(whole) || fraction.is_some_and(|f| !is_digits(f)) {
            return Err(ParseAmountError::Malformed);
        }
        let fraction = fraction.unwrap_or_default();
        let decimals = currency.exponent() as usize;
        if fraction.len() > decimals {
            return Err(ParseAmountError::TooPrecise { currency });
        }

        let padding = std::iter::repeat_n(b'0', decimals - fraction.len());
        let mut minor = 0_i64;
        for digit in whole.bytes().chain(fraction.bytes()).chain(padding).map(|b| i64::from(b - b'0')) {
            // Built up with its sign, because the least amount has no positive opposite.
            let signed = if negative { -digit } else { digit };
            minor = minor
                .checked_mul(10)
                .and_then(|m| m.checked_add(signed))
                .ok_or(ParseAmountError::Overflow)?;
        }
        Ok(Self::new(minor, currency))
    }

    fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(MoneyError::CurrencyMismatch { left: self.currency, right: other.currency })
        }
    }

    fn with(self, minor: Option<i64>) -> Result<Self, MoneyError> {
        minor.map(|minor| Self::new(minor, self.currency)).ok_or(MoneyError::Overflow)
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.to_decimal(), self.currency)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}
