//! SQL: rows become domain values here and nowhere else.
//!
//! Lock order: a refund, then its order (with the order's lines). Whoever holds an order's lock asks for no refund's.

pub(crate) mod facts;
pub(crate) mod order;
pub(crate) mod refund;
pub(crate) mod refund_policy;

use tael_money::{Currency, Money};
use tael_postgres::InconsistentRow;

fn money(
    minor: i64,
    currency: &str,
    table: &'static str,
    row: &impl ToString,
) -> Result<Money, InconsistentRow> {
    let currency = Currency::parse(currency).map_err(|e| InconsistentRow {
        table,
        column: "currency",
        row: row.to_string(),
        problem: e.to_string(),
    })?;
    Ok(Money::new(minor, currency))
}

/// Units of a line; the table's checks keep them between 0 and 2³¹.
fn units(stored: i32) -> u32 {
    stored.unsigned_abs()
}

/// Units of a line as they are stored.
fn stored_units(units: u32) -> i32 {
    i32::try_from(units).unwrap_or(i32::MAX)
}
