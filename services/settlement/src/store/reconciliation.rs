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
    Break, Counts, Difference, Reconciliation, Side, StatementDay, StatementPart,
};

/// A comparison that was begun.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) merchant_id: MerchantId,
    pub(crate) id: ReconciliationId,
    pub(crate) channel_account_id: ChannelAccountId,
    /// All accounts of the same seller, this one included: the statement has the movements of all.
    pub(crate) seller_accounts: Vec<ChannelAccountId>,
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

/// Stores the next lines of a statement; the first of them is its line number `first`. Those that can't be read come last.
#[tracing::instrument(name = "db.bill_line.insert", skip_all, fields(tael.count = part.lines.len()))]
pub(crate) async fn insert_lines(
    pool: &PgPool,
    reading: &Reading,
    first: i64,
    part: &StatementPart,
) -> Result<(), sqlx::Error> {
    let lines = &part.lines;
    let kinds: Vec<&str> = lines.iter().map(|line| line.kind.name()).collect();
    let numbers: Vec<&str> = lines.iter().map(|line| line.number.as_str()).collect();
    let transactions: Vec<&str> = lines.iter().map(|line| line.channel_transaction_id.as_str()).collect();
    let currencies: Vec<&str> = lines.iter().map(|line| line.amount.currency().code()).collect();
    let amounts: Vec<i64> = lines.iter().map(|line| line.amount.minor()).collect();
    let received: Vec<i64> = lines.iter().map(|line| line.received.minor()).collect();
    let fees: Vec<i64> = lines.iter().map(|line| line.fee.minor()).collect();
    let times: Vec<_> = lines.iter().map(|line| line.finish_time.map(ToSqlx::to_sqlx)).collect();
    let odd_numbers: Vec<&str> = part.unreadable.iter().map(|line| line.number.as_str()).collect();
    let problems: Vec<&str> = part.unreadable.iter().map(|line| line.problem.as_str()).collect();
    sqlx::query!(
        "insert into bill_line (merchant_id, reconciliation_id, line, kind, number, channel_transaction_id, currency,
                                amount_minor, received_minor, fee_minor, finish_time, problem)
         select $1, $2, $3 + row_number() over (order by problem nulls first, nth) - 1, kind, number,
                channel_transaction_id, currency, amount_minor, received_minor, fee_minor, finish_time, problem
         from (
             select nth, kind, number, channel_transaction_id, currency, amount_minor, received_minor, fee_minor,
                    finish_time, null as problem
             from unnest($4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[],
                         $11::timestamptz[])
                 with ordinality as l (kind, number, channel_transaction_id, currency, amount_minor, received_minor,
                                       fee_minor, finish_time, nth)
             union all
             select nth, 'unreadable', number, '', '', 0, null, 0, null, problem
             from unnest($12::text[], $13::text[]) with ordinality as l (number, problem, nth)
         ) l",
        reading.merchant_id.uuid(),
        reading.id.uuid(),
        first,
        &kinds as _,
        &numbers as _,
        &transactions as _,
        &currencies as _,
        &amounts,
        &received,
        &fees,
        &times as _,
        &odd_numbers as _,
        &problems as _,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Compares the statement that was read with the ledger, stores what differs and counts.
///
/// A line is matched by its number with the movements of its day and of both neighbours, of all accounts of the seller. A
/// line under a number that the ledger does not know is matched by the channel's own number of the transaction (and, as a
/// payment's refunds share it, by the amount), unless another line has the movement's number. What the statement has not
/// is missing only when it moved on its day and no compared statement of a neighbouring day has it. A number that the
/// statement has twice is in the ledger once. A line that can't be read is a difference, and the others are compared.
#[tracing::instrument(name = "db.reconciliation.compare", skip_all)]
pub(crate) async fn compare(conn: &mut PgConnection, reading: &Reading) -> Result<Counts, sqlx::Error> {
    let accounts: Vec<Uuid> = reading.seller_accounts.iter().map(|id| id.uuid()).collect();
    let row = sqlx::query!(
        r#"with line as (
               select line, kind, number, channel_transaction_id, currency, amount_minor,
                      coalesce(received_minor, amount_minor) as received_minor, fee_minor,
                      -- A refund's own; a payment's transaction is its own already.
                      case kind when 'refund' then amount_minor else 0 end as share
               from bill_line where merchant_id = $1 and reconciliation_id = $2 and kind <> 'unreadable'
           ), ledger as (
               select t.kind, t.number, t.channel_transaction_id, t.currency, t.gross_minor as amount_minor,
                      coalesce((c.components -> 'received')::bigint, 0) as received_minor,
                      case t.kind when 'refund' then -t.channel_fee_minor else t.channel_fee_minor end as fee_minor,
                      t.occur_time, t.transfer_id, 1::bigint as nth,
                      case t.kind when 'refund' then t.gross_minor else 0 end as share
               from transfer t
               cross join lateral (select coalesce(t.components, components_of(t)) as components) c
               where t.merchant_id = $1 and t.channel_account_id = any($3) and t.occur_time >= $5 and t.occur_time < $8
           ), unnamed as (
               -- Movements whose number no line has.
               select distinct on (l.kind, l.channel_transaction_id, l.currency, l.share) l.*
               from ledger l left join line on line.kind = l.kind and line.number = l.number
               where line.number is null
               order by l.kind, l.channel_transaction_id, l.currency, l.share, l.occur_time, l.transfer_id
           ), bill as (
               select line.*, row_number() over (partition by line.kind, m.matched order by line.line) as nth, m.matched
               from line
               left join ledger l on l.kind = line.kind and l.number = line.number
               left join unnamed u
                   on l.number is null and line.channel_transaction_id <> '' and u.kind = line.kind
                   and u.channel_transaction_id = line.channel_transaction_id and u.currency = line.currency
                   and u.share = line.share
               cross join lateral (select coalesce(u.number, line.number) as matched) m
           ), elsewhere as (
               select l.kind, l.number
               from reconciliation r join bill_line l using (merchant_id, reconciliation_id)
               where r.merchant_id = $1 and r.channel_account_id = any($3) and r.state = 'done'
                 and r.bill_date in ($4::date - 1, $4::date + 1)
           ), compared as (
               select coalesce(b.kind, t.kind) as kind, coalesce(b.number, t.number) as number, b.line, t.occur_time,
                      t.transfer_id, t.currency as ledger_currency, t.amount_minor as ledger_amount_minor,
                      t.received_minor as ledger_received_minor, t.fee_minor as ledger_fee_minor,
                      b.currency as bill_currency, b.amount_minor as bill_amount_minor,
                      b.received_minor as bill_received_minor, b.fee_minor as bill_fee_minor,
                      case
                          when t.number is null then 'missing_in_ledger'
                          when b.number is null then 'missing_in_bill'
                          when (t.currency, t.amount_minor) <> (b.currency, b.amount_minor) then 'amount'
                          when t.received_minor <> b.received_minor then 'received'
                          when t.fee_minor <> b.fee_minor then 'fee'
                      end as break_kind, null as problem
               from bill b full join ledger t on t.kind = b.kind and t.number = b.matched and t.nth = b.nth
               union all
               select kind, number, line, null, null, null, null, null, null, null, null, null, null, kind, problem
               from bill_line where merchant_id = $1 and reconciliation_id = $2 and kind = 'unreadable'
           ), judged as (
               select * from compared c
               where c.break_kind is distinct from 'missing_in_bill'
                  or (c.occur_time >= $6 and c.occur_time < $7
                      and not exists (select from elsewhere e where e.kind = c.kind and e.number = c.number))
           ), broken as (
               insert into reconciliation_break (merchant_id, reconciliation_id, position, kind, number,
                   ledger_currency, ledger_amount_minor, ledger_received_minor, ledger_fee_minor, bill_currency,
                   bill_amount_minor, bill_received_minor, bill_fee_minor, problem)
               select $1, $2, row_number() over (order by line nulls last, occur_time, transfer_id), break_kind, number,
                      ledger_currency, ledger_amount_minor, ledger_received_minor, ledger_fee_minor, bill_currency,
                      bill_amount_minor, bill_received_minor, bill_fee_minor, problem
               from judged where break_kind is not null
           )
           select count(line) as "bill_lines!",
                  count(*) filter (where break_kind is null) as "matched!",
                  count(break_kind) as "breaks!"
           from judged"#,
        reading.merchant_id.uuid(),
        reading.id.uuid(),
        &accounts,
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
        "select kind, number, ledger_currency, ledger_amount_minor, ledger_received_minor, ledger_fee_minor,
                bill_currency, bill_amount_minor, bill_received_minor, bill_fee_minor, problem
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
            // Without a sum received, all of the amount was: rows of builds that knew no other.
            let received = row.ledger_received_minor.or(row.ledger_amount_minor);
            let ledger = side(
                id.uuid(),
                row.ledger_currency,
                row.ledger_amount_minor,
                received,
                row.ledger_fee_minor,
            )?;
            let received = row.bill_received_minor.or(row.bill_amount_minor);
            let statement =
                side(id.uuid(), row.bill_currency, row.bill_amount_minor, received, row.bill_fee_minor)?;
            let difference = match (row.kind.as_str(), ledger, statement, row.problem) {
                ("missing_in_ledger", None, Some(statement), None) => {
                    Difference::MissingInLedger { statement }
                }
                ("missing_in_bill", Some(ledger), None, None) => Difference::MissingInStatement { ledger },
                ("amount", Some(ledger), Some(statement), None) => Difference::Amount { ledger, statement },
                ("received", Some(ledger), Some(statement), None) => {
                    Difference::Received { ledger, statement }
                }
                ("fee", Some(ledger), Some(statement), None) => Difference::Fee { ledger, statement },
                ("unreadable", None, None, Some(problem)) => Difference::Unreadable { problem },
                (kind, ..) => {
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
    received: Option<i64>,
    fee: Option<i64>,
) -> Result<Option<Side>, sqlx::Error> {
    match (currency, amount, received, fee) {
        (None, None, None, None) => Ok(None),
        (Some(currency), Some(amount), Some(received), Some(fee)) => {
            let currency = parse_currency("reconciliation_break", row, &currency)?;
            let money = |minor| Money::new(minor, currency);
            Ok(Some(Side { amount: money(amount), received: money(received), fee: money(fee) }))
        }
        (currency, amount, received, fee) => {
            let value = format!("{currency:?} {amount:?} {received:?} {fee:?}");
            Err(inconsistent("reconciliation_break", "ledger or bill", row, &value).into())
        }
    }
}
