//! Amounts of money: exact, in one currency each, and never silently wrong.
//!
//! An amount is a [`Money`]: whole minor units (fen, cents, yen, fils) and a [`Currency`]. Arithmetic is checked;
//! an overflow or a mix of currencies is an error, never a wrapped or converted number. There are no floats.
//!
//! Where a result falls between two minor units, one rule decides, [`round_half_up`], and it is applied in two
//! places only: a [`Rate`] of an amount (a fee), and [`prorate_cumulative`] (a fee returned with partial refunds).
//! Where a whole is divided among parts, [`allocate`] makes sure that the parts add up to the whole again.

mod amount;
mod currency;
mod rate;
mod rounding;
mod split;

pub use amount::{Money, MoneyError, ParseAmountError};
pub use currency::{Currency, UnknownCurrency};
pub use rate::{ParseRateError, Rate};
pub use rounding::round_half_up;
pub use split::{SplitError, allocate, prorate_cumulative};
