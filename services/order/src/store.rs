//! SQL: rows become domain values here and nowhere else.

pub(crate) mod facts;
pub(crate) mod late_payment_policy;
pub(crate) mod locked_order;
pub(crate) mod order;
pub(crate) mod promotion;
pub(crate) mod unapplied_payment;
pub(crate) mod voucher;
pub(crate) mod voucher_reservation;

use tael_ids::{MerchantId, OrderId};
use tael_money::{Currency, Money};
use tael_postgres::InconsistentRow;
use uuid::Uuid;

/// Returns the two columns of the orders' key.
fn columns(orders: &[(MerchantId, OrderId)]) -> (Vec<Uuid>, Vec<Uuid>) {
    orders.iter().map(|(merchant, order)| (merchant.uuid(), order.uuid())).unzip()
}

/// Reports a row that can't be what was written.
fn inconsistent(
    table: &'static str,
    column: &'static str,
    row: impl std::fmt::Display,
    problem: impl Into<String>,
) -> sqlx::Error {
    InconsistentRow { table, column, row: row.to_string(), problem: problem.into() }.into()
}

/// Reads a currency, which was one when it was written.
fn currency(table: &'static str, row: impl std::fmt::Display, code: &str) -> Result<Currency, sqlx::Error> {
    Currency::parse(code).map_err(|e| inconsistent(table, "currency", row, e.to_string()))
}

/// Reads a count that the table keeps from being negative.
fn count(
    table: &'static str,
    column: &'static str,
    row: impl std::fmt::Display,
    value: i32,
) -> Result<u32, sqlx::Error> {
    u32::try_from(value).map_err(|_| inconsistent(table, column, row, "is negative"))
}

/// Takes a part, which the table keeps from being more than the whole, from the whole.
fn rest(
    table: &'static str,
    row: impl std::fmt::Display,
    whole: Money,
    part: Money,
) -> Result<Money, sqlx::Error> {
    whole.checked_sub(part).map_err(|e| inconsistent(table, "discount_minor", row, e.to_string()))
}

/// Makes sure that a statement changed as many rows as it must.
fn expect_rows(table: &'static str, expected: usize, changed: u64) -> Result<(), sqlx::Error> {
    if u64::try_from(expected).is_ok_and(|expected| expected == changed) {
        return Ok(());
    }
    Err(inconsistent(table, "state", "of a batch", format!("{changed} rows changed, not {expected}")))
}
