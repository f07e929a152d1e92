//! SQL: rows become domain values here and nowhere else.
//!
//! Pages are cut by `id < coalesce(after, the last id of all)` and not by `after is null or …`, because the index can be
//! entered at the former under any plan.

pub(crate) mod channel;
pub(crate) mod facts;
pub(crate) mod fee_schedule;
pub(crate) mod ledger;
pub(crate) mod metrics;
pub(crate) mod reconciliation;
pub(crate) mod settlement_batch;

use tael_money::{Currency, Money};
use tael_postgres::InconsistentRow;
use uuid::Uuid;

/// Reads an amount of a stored row.
fn money(table: &'static str, row: Uuid, minor: i64, currency: &str) -> Result<Money, InconsistentRow> {
    Ok(Money::new(minor, parse_currency(table, row, currency)?))
}

fn parse_currency(table: &'static str, row: Uuid, currency: &str) -> Result<Currency, InconsistentRow> {
    Currency::parse(currency).map_err(|_| inconsistent(table, "currency", row, currency))
}

/// Reads a count of a stored row.
fn count(table: &'static str, column: &'static str, row: Uuid, count: i64) -> Result<u32, InconsistentRow> {
    u32::try_from(count).map_err(|_| inconsistent(table, column, row, &count.to_string()))
}

/// A value that we never wrote.
fn inconsistent(table: &'static str, column: &'static str, row: Uuid, value: &str) -> InconsistentRow {
    InconsistentRow { table, column, row: row.to_string(), problem: format!("unexpected value {value:?}") }
}
