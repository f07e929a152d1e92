//! SQL: rows become domain values here and nowhere else. One file per table that is written for itself.
//!
//! Lock order: a payment's row before its attempts and refunds. Leases are taken on attempts and refunds by single
//! statements that wait for nothing else.

pub(crate) mod attempt_decision;
pub(crate) mod channel_account;
pub(crate) mod facts;
pub(crate) mod integrity_alert;
pub(crate) mod payment;
pub(crate) mod refund_execution;

use tael_money::{Currency, Money};
use tael_postgres::InconsistentRow;

use crate::domain::channel_account::Method;
use crate::domain::payment::{Failure, FailureReason};

/// A row that was expected to be in a state was not: somebody changed it without the lock.
pub(crate) fn expect_one(
    table: &'static str,
    row: &impl ToString,
    result: &sqlx::postgres::PgQueryResult,
) -> Result<(), InconsistentRow> {
    match result.rows_affected() {
        1 => Ok(()),
        count => Err(InconsistentRow {
            table,
            column: "state",
            row: row.to_string(),
            problem: format!("{count} rows were in the expected state"),
        }),
    }
}

fn money(table: &'static str, row: &str, minor: i64, currency: &str) -> Result<Money, InconsistentRow> {
    let currency = Currency::parse(currency).map_err(|e| InconsistentRow {
        table,
        column: "currency",
        row: row.to_owned(),
        problem: e.to_string(),
    })?;
    Ok(Money::new(minor, currency))
}

fn method(table: &'static str, row: &str, name: &str) -> Result<Method, InconsistentRow> {
    Method::from_name(name).ok_or_else(|| unknown(table, "method", row, name))
}

fn failure(
    table: &'static str,
    row: &str,
    reason: Option<&str>,
    code: Option<String>,
) -> Result<Failure, InconsistentRow> {
    let name = reason.unwrap_or_default();
    let reason = FailureReason::from_name(name).ok_or_else(|| unknown(table, "failure_reason", row, name))?;
    Ok(Failure { reason, channel_code: code.unwrap_or_default() })
}

fn unknown(table: &'static str, column: &'static str, row: &str, value: &str) -> InconsistentRow {
    InconsistentRow { table, column, row: row.to_owned(), problem: format!("unknown value {value:?}") }
}
