//! Reconciliations: the statement as it was read, and what it differs in from the ledger.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::{PgConnection, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::{ChannelAccountId, MerchantId, ReconciliationId};
use tael_money::Money;
use uuid::Uuid;

use super::{count, inconsistent, parse_currency};
use crate::domain::channel::Channel;
use crate::domain::reconciliation::{
    Break, ChannelStatementLine, Counts, Difference, Reconciliation, Side, StatementDay,
};

/// A comparison that was begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) merchant_id: MerchantId,
    pub(crate) id: ReconciliationId,
    pub(crate) channel_account_id: ChannelAccountId,
    pub(crate) channel: Channel,
    pub(crate) day: StatementDay,
    pub(crate) create_time: Timestamp,
}

/// Stores that a statement is being read.
#[tracing::instrument(name = "db.reconciliation.insert", skip_all)]
pub(crate) async fn begin(pool: &PgPool, reading: &Reading) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into reconciliation (merchant_id, reconciliation_id, channel_account_id, bill_date, state, create_time,
                                     channel)
         values ($1, $2, $3, $4, 'reading', $5, $6)",
        reading.merchant_id.uuid(),
        reading.id.uuid(),
        reading.channel_account_id.uuid(),
        reading.day.date.to_sqlx() as _,
        reading.create_time.to_sqlx() as _,
        reading.channel.name(),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Stores the next lines of a statement; the first of them is its line number `first`.
#[tracing::instrument(name = "db.bill_line.insert", skip_all, fields(tael.count = lines.len()))]
pub(crate) async fn insert_lines(
    pool: &PgPool,
    reading: &Reading,
    first: i64,
    lines: &[ChannelStatementLine],
) -> Result<(), sqlx::Error> {
    let kinds: Vec<&str> = lines.iter().map(|line| line.kind.name()).collect();
    let numbers: Vec<&str> = lines.iter().map(|line| line.number.as_str()).collect();
    let transactions: Vec<&str> = lines.iter().map(|line| line.channel_transaction_id.as_str()).collect();
    let currencies: Vec<&str> = lines.iter().map(|line| line.amount.currency().code()).collect();
    let amounts: Vec<i64> = lines.iter().map(|line| line.amount.minor()).collect();
    let fees: Vec<i64> = lines.iter().map(|line| line.fee.minor()).collect();
    let times: Vec<_> = lines.iter().map(|line| line.finish_time.map(ToSqlx::to_sqlx)).collect();
    sqlx::query!(
        "insert into bill_line (merchant_id, reconciliation_id, line, kind, number, channel_transaction_id, currency,
                                amount_minor, fee_minor, finish_time)
         select $1, $2, $3 + nth - 1, kind, number, channel_transaction_id, currency, amount_minor, fee_minor,
                finish_time
         from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::timestamptz[])
             with ordinality as l (kind, number, channel_transaction_id, currency, amount_minor, fee_minor,
                                   finish_time, nth)",
        reading.merchant_id.uuid(),
        reading.id.uuid(),
        first,
        &kinds as _,
        &numbers as _,
        &transactions as _,
        &currencies as _,
        &amounts,
        &fees,
        &times as _,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Compares the statement that was read with the ledger, stores what differs and counts.
///
/// A line is matched by its number with the movements of its day and of both neighbours. What the statement has not
/// is missing only when it moved on its day and no compared statement of a neighbouring day has it. A number that the
/// statement has twice is in the ledger once.
#[tracing::instrument(name = "db.reconciliation.compare", skip_all)]
pub(crate) async fn compare(conn: &mut PgConnection, reading: &Reading) -> Result<Counts, sqlx::Error> {
    let row = sqlx::query!(
        r#"with bill as (
               select line, kind, number, currency, amount_minor, fee_minor,
                      row_number() over (partition by kind, number order by line) as nth
               from bill_line where merchant_id = $1 and reconciliation_id = $2
           ), ledger as (
               select kind, number, currency, gross_minor as amount_minor,
                      case kind when 'refund' then -channel_fee_minor else channel_fee_minor end as fee_minor,
                      occur_time, transfer_id, 1::bigint as nth
               from transfer
               where merchant_id = $1 and channel_account_id = $3 and occur_time >= $5 and occur_time < $8
           ), elsewhere as (
               select l.kind, l.number
               from reconciliation r join bill_line l using (merchant_id, reconciliation_id)
               where r.merchant_id = $1 and r.channel_account_id = $3 and r.state = 'done'
                 and r.bill_date in ($4::date - 1, $4::date + 1)
           ), compared as (
               select kind, number, b.line, t.occur_time, t.transfer_id,
                      t.currency as ledger_currency, t.amount_minor as ledger_amount_minor,
                      t.fee_minor as ledger_fee_minor, b.currency as bill_currency,
                      b.amount_minor as bill_amount_minor, b.fee_minor as bill_fee_minor,
                      case
                          when t.number is null then 'missing_in_ledger'
                          when b.number is null then 'missing_in_bill'
                          when (t.currency, t.amount_minor) <> (b.currency, b.amount_minor) then 'amount'
                          when t.fee_minor <> b.fee_minor then 'fee'
                      end as break_kind
               from bill b full join ledger t using (kind, number, nth)
           ), judged as (
               select * from compared c
               where c.break_kind is distinct from 'missing_in_bill'
                  or (c.occur_time >= $6 and c.occur_time < $7
                      and not exists (select from elsewhere e where e.kind = c.kind and e.number = c.number))
           ), broken as (
               insert into reconciliation_break (merchant_id, reconciliation_id, position, kind, number,
                   ledger_currency, ledger_amount_minor, ledger_fee_minor, bill_currency, bill_amount_minor,
                   bill_fee_minor)
               select $1, $2, row_number() over (order by line nulls last, occur_time, transfer_id), break_kind, number,
                      ledger_currency, ledger_amount_minor, ledger_fee_minor, bill_currency, bill_amount_minor,
                      bill_fee_minor
               from judged where break_kind is not null
           )
           select count(line) as "bill_lines!",
                  count(*) filter (where break_kind is null) as "matched!",
                  count(break_kind) as "breaks!"
           from judged"#,
        reading.merchant_id.uuid(),
        reading.id.uuid(),
        reading.channel_account_id.uuid(),
        reading.day.date.to_sqlx() as _,
        reading.day.yesterday.to_sqlx() as _,
        reading.day.begin.to_sqlx() as _,
        reading.day.end.to_sqlx() as _,
        reading.day.tomorrow_end.to_sqlx() as _,
    )
    .fetch_one(conn)
    .await?;
    let count = |column, value| count("reconciliation", column, reading.id.uuid(), value);
    Ok(Counts {
        statement_lines: count("bill_lines", row.bill_lines)?,
        matched: count("matched", row.matched)?,
        breaks: count("break_count", row.breaks)?,
    })
}

/// Ends a reading: from now on the comparison exists. Violates `reconciliation_idempotency` when another call with the
/// key was faster.
#[tracing::instrument(name = "db.reconciliation.finish", skip_all)]
pub(crate) async fn finish(
    conn: &mut PgConnection,
    reading: &Reading,
    counts: Counts,
    guard: &IdempotencyKey,
) -> Result<(), sqlx::Error> {
    let finished = sqlx::query!(
        "update reconciliation
         set state = 'done', bill_lines = $3, matched = $4, break_count = $5, idempotency_key = $6, fingerprint = $7
         where merchant_id = $1 and reconciliation_id = $2 and state = 'reading'",
        reading.merchant_id.uuid(),
        reading.id.uuid(),
        i64::from(counts.statement_lines),
        i64::from(counts.matched),
        i64::from(counts.breaks),
        guard.key,
        guard.fingerprint,
    )
    .execute(conn)
    .await?;
    if finished.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}

/// Forgets a reading that came to nothing, with its lines.
#[tracing::instrument(name = "db.reconciliation.discard", skip_all)]
pub(crate) async fn discard(pool: &PgPool, reading: &Reading) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from reconciliation where merchant_id = $1 and reconciliation_id = $2 and state = 'reading'",
        reading.merchant_id.uuid(),
        reading.id.uuid(),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets a merchant's readings that were begun before this time: their process ended in the middle.
#[tracing::instrument(name = "db.reconciliation.discard_abandoned", skip_all)]
pub(crate) async fn discard_abandoned(
    pool: &PgPool,
    merchant_id: MerchantId,
    before: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "delete from reconciliation where merchant_id = $1 and state = 'reading' and create_time < $2",
        merchant_id.uuid(),
        before.to_sqlx() as _,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Returns the comparison that was made under an idempotency key, and the request's fingerprint.
#[tracing::instrument(name = "db.reconciliation.by_key", skip_all)]
pub(crate) async fn by_key(
    pool: &PgPool,
    merchant_id: MerchantId,
    key: &str,
    max_breaks: i64,
) -> Result<Option<(Reconciliation, Vec<u8>)>, sqlx::Error> {
    let found = sqlx::query!(
        r#"select reconciliation_id, fingerprint as "fingerprint!"
           from reconciliation where merchant_id = $1 and idempotency_key = $2"#,
        merchant_id.uuid(),
        key,
    )
    .fetch_optional(pool)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let id = ReconciliationId::from_uuid(found.reconciliation_id);
    let reconciliation = by_id(pool, merchant_id, id, max_breaks).await?;
    Ok(reconciliation.map(|reconciliation| (reconciliation, found.fingerprint)))
}

/// Returns a comparison with at most `max_breaks` breaks.
#[tracing::instrument(name = "db.reconciliation.get", skip_all)]
pub(crate) async fn by_id(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: ReconciliationId,
    max_breaks: i64,
) -> Result<Option<Reconciliation>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select channel_account_id, bill_date, create_time, bill_lines as "bill_lines!", matched as "matched!",
                  break_count as "break_count!"
           from reconciliation where merchant_id = $1 and reconciliation_id = $2 and state = 'done'"#,
        merchant_id.uuid(),
        id.uuid(),
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let count = |column, value| count("reconciliation", column, id.uuid(), value);
    Ok(Some(Reconciliation {
        id,
        merchant_id,
        channel_account_id: ChannelAccountId::from_uuid(row.channel_account_id),
        statement_date: row.bill_date.to_jiff(),
        create_time: row.create_time.to_jiff(),
        counts: Counts {
            statement_lines: count("bill_lines", row.bill_lines)?,
            matched: count("matched", row.matched)?,
            breaks: count("break_count", row.break_count)?,
        },
        breaks: breaks(pool, merchant_id, id, max_breaks).await?,
    }))
}

async fn breaks(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: ReconciliationId,
    limit: i64,
) -> Result<Vec<Break>, sqlx::Error> {
    let rows = sqlx::query!(
        "select kind, number, ledger_currency, ledger_amount_minor, ledger_fee_minor, bill_currency, bill_amount_minor,
                bill_fee_minor
         from reconciliation_break where merchant_id = $1 and reconciliation_id = $2
         order by position limit $3",
        merchant_id.uuid(),
        id.uuid(),
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let ledger = side(id.uuid(), row.ledger_currency, row.ledger_amount_minor, row.ledger_fee_minor)?;
            let statement = side(id.uuid(), row.bill_currency, row.bill_amount_minor, row.bill_fee_minor)?;
            let difference = match (row.kind.as_str(), ledger, statement) {
                ("missing_in_ledger", None, Some(statement)) => Difference::MissingInLedger { statement },
                ("missing_in_bill", Some(ledger), None) => Difference::MissingInStatement { ledger },
                ("amount", Some(ledger), Some(statement)) => Difference::Amount { ledger, statement },
                ("fee", Some(ledger), Some(statement)) => Difference::Fee { ledger, statement },
                (kind, _, _) => {
                    return Err(inconsistent("reconciliation_break", "kind", id.uuid(), kind).into());
                }
            };
            Ok(Break { number: row.number, difference })
        })
        .collect()
}

fn side(
    row: Uuid,
    currency: Option<String>,
    amount: Option<i64>,
    fee: Option<i64>,
) -> Result<Option<Side>, sqlx::Error> {
    match (currency, amount, fee) {
        (None, None, None) => Ok(None),
        (Some(currency), Some(amount), Some(fee)) => {
            let currency = parse_currency("reconciliation_break", row, &currency)?;
            Ok(Some(Side { amount: Money::new(amount, currency), fee: Money::new(fee, currency) }))
        }
        (currency, amount, fee) => {
            let value = format!("{currency:?} {amount:?} {fee:?}");
            Err(inconsistent("reconciliation_break", "ledger or bill", row, &value).into())
        }
    }
}
