//! Batches, their items and their statements.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tael_idempotency::IdempotencyKey;
use tael_ids::{BatchId, MerchantId, PaymentId, RefundId, TransferId};
use tael_money::Currency;
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use super::{count, inconsistent, money};
use crate::domain::ledger::transfer::TransferKind;
use crate::domain::settlement_batch::{Batch, BatchLine, StatementLine};

struct BatchRow {
    merchant_id: Uuid,
    batch_id: Uuid,
    currency: String,
    cut_off_time: jiff_sqlx::Timestamp,
    payment_count: i64,
    refund_count: i64,
    gross_minor: i64,
    refunds_minor: i64,
    fees_minor: i64,
    fees_returned_minor: i64,
    held_minor: i64,
    released_minor: i64,
    net_minor: i64,
    close_time: jiff_sqlx::Timestamp,
}

/// A query of batches, whose columns stand here once, in the order of [`BatchRow`]; `$rest` is the statement after the
/// columns, `$before` what comes before them.
macro_rules! query_batches {
    ($before:literal, $rest:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            BatchRow,
            $before + " merchant_id, batch_id, currency, cut_off_time, payment_count, refund_count, gross_minor,
                refunds_minor, fees_minor, fees_returned_minor, held_minor, released_minor, net_minor, close_time " + $rest,
            $($argument),+
        )
    };
}

impl BatchRow {
    fn with_lines(self, lines: Vec<BatchLine>) -> Result<Batch, InconsistentRow> {
        let money = |minor| money("batch", self.batch_id, minor, &self.currency);
        Ok(Batch {
            id: BatchId::from_uuid(self.batch_id),
            merchant_id: MerchantId::from_uuid(self.merchant_id),
            cut_off_time: self.cut_off_time.to_jiff(),
            payment_count: count("batch", "payment_count", self.batch_id, self.payment_count)?,
            refund_count: count("batch", "refund_count", self.batch_id, self.refund_count)?,
            gross: money(self.gross_minor)?,
            refunds: money(self.refunds_minor)?,
            fees: money(self.fees_minor)?,
            fees_returned: money(self.fees_returned_minor)?,
            held: money(self.held_minor)?,
            released: money(self.released_minor)?,
            net: money(self.net_minor)?,
            close_time: self.close_time.to_jiff(),
            lines,
        })
    }
}

/// Loads the lines of all the batches at once.
async fn with_lines(conn: &mut PgConnection, rows: Vec<BatchRow>) -> Result<Vec<Batch>, sqlx::Error> {
    let merchants: Vec<Uuid> = rows.iter().map(|row| row.merchant_id).collect();
    let ids: Vec<Uuid> = rows.iter().map(|row| row.batch_id).collect();
    let found = sqlx::query!(
        r#"select l.batch_id, l.transfer_kind, l.component, l.transfer_count,
                  l.amount_minor::bigint as "amount_minor!", b.currency
           from unnest($1::uuid[], $2::uuid[]) as w (merchant_id, batch_id)
           join batch b using (merchant_id, batch_id)
           join batch_line l using (merchant_id, batch_id)
           order by l.batch_id, l.transfer_kind, l.component"#,
        &merchants,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let mut lines: HashMap<Uuid, Vec<BatchLine>> = HashMap::with_capacity(rows.len());
    for row in found {
        let kind = TransferKind::from_name(&row.transfer_kind)
            .ok_or_else(|| inconsistent("batch_line", "transfer_kind", row.batch_id, &row.transfer_kind))?;
        lines.entry(row.batch_id).or_default().push(BatchLine {
            kind,
            component: row.component,
            transfer_count: count("batch_line", "transfer_count", row.batch_id, row.transfer_count)?,
            amount: money("batch_line", row.batch_id, row.amount_minor, &row.currency)?,
        });
    }
    rows.into_iter()
        .map(|row| {
            let lines = lines.remove(&row.batch_id).unwrap_or_default();
            row.with_lines(lines).map_err(sqlx::Error::from)
        })
        .collect()
}

/// The same for one batch, if there is one.
async fn one_with_lines(
    conn: &mut PgConnection,
    row: Option<BatchRow>,
) -> Result<Option<Batch>, sqlx::Error> {
    Ok(with_lines(conn, row.into_iter().collect()).await?.pop())
}

/// What is to be closed, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    pub(crate) merchant_id: MerchantId,
    pub(crate) batch_id: BatchId,
    pub(crate) currency: Currency,
    pub(crate) cut_off_time: Timestamp,
    pub(crate) close_time: Timestamp,
}

/// Takes everything that waits, in this currency and from before the cut-off, into a new batch with its sums; none when
/// nothing waits. One statement, so that the batch's items and sums are of one moment; an item that another closing
/// took meanwhile is left to it.
#[tracing::instrument(name = "db.batch.close", skip_all)]
pub(crate) async fn close(
    conn: &mut PgConnection,
    closing: &Closing,
    guard: &IdempotencyKey,
) -> Result<Option<Batch>, sqlx::Error> {
    let row = query_batches!(
        "with taken as (
             update batch_item set batch_id = $2
             where merchant_id = $1 and currency = $3 and occur_time < $4 and batch_id is null
             returning merchant_id, transfer_id
         ), item as (
             select t.kind, coalesce(t.components, components_of(t)) as components
             from taken join transfer t using (merchant_id, transfer_id)
         ), line as (
             select kind, c.key as component, sum(c.value::bigint) as amount
             from item cross join lateral jsonb_each(components) c
             group by kind, c.key
         ), counts as (
             select count(*) filter (where kind = 'payment') as payment_count,
                    count(*) filter (where kind = 'refund') as refund_count
             from item
         ), sums as (
             select coalesce(sum(amount) filter (where kind = 'payment' and line.component = 'received'), 0) as gross,
                    coalesce(sum(amount) filter (where kind = 'refund' and line.component = 'received'), 0) as refunds,
                    coalesce(sum(amount) filter (where kind = 'payment' and line.component = 'fee'), 0) as fees,
                    coalesce(sum(amount) filter (where kind = 'refund' and line.component = 'fee'), 0) as fees_returned,
                    coalesce(sum(amount) filter (where kind = 'hold'), 0) as held,
                    coalesce(sum(amount) filter (where kind = 'release'), 0) as released,
                    -- What all of it brings to the merchant, by the rules.
                    coalesce(sum(case r.direction when 'credit' then amount when 'debit' then -amount end), 0) as net
             from line
             left join posting_rule r
                 on r.transfer_kind = kind and r.component = line.component and r.account_kind = 'merchant_payable'
         )
         insert into batch (merchant_id, batch_id, currency, cut_off_time, payment_count, refund_count, gross_minor,
             refunds_minor, fees_minor, fees_returned_minor, held_minor, released_minor, net_minor, other_minor,
             close_time, idempotency_key, fingerprint)
         select $1, $2, $3, $4, payment_count, refund_count, gross, refunds, fees, fees_returned, held, released, net,
                net - (gross - refunds - fees + fees_returned - held + released), $5, $6, $7
         from sums cross join counts where exists (select from taken)
         returning",
        "",
        closing.merchant_id.uuid(),
        closing.batch_id.uuid(),
        closing.currency.code(),
        closing.cut_off_time.to_sqlx() as _,
        closing.close_time.to_sqlx() as _,
        guard.key,
        guard.fingerprint,
    );
    let row = row.fetch_optional(&mut *conn).await?;
    one_with_lines(conn, row).await
}

/// Returns the batch that was closed under an idempotency key, and the request's fingerprint.
#[tracing::instrument(name = "db.batch.by_key", skip_all)]
pub(crate) async fn by_key(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<(Batch, Vec<u8>)>, sqlx::Error> {
    let found = sqlx::query!(
        "select batch_id, fingerprint from batch where merchant_id = $1 and idempotency_key = $2",
        merchant_id.uuid(),
        key,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(found) = found else { return Ok(None) };
    let batch = by_id(conn, merchant_id, BatchId::from_uuid(found.batch_id)).await?;
    Ok(batch.map(|batch| (batch, found.fingerprint)))
}

/// Returns a batch.
#[tracing::instrument(name = "db.batch.get", skip_all)]
pub(crate) async fn by_id(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: BatchId,
) -> Result<Option<Batch>, sqlx::Error> {
    let row = query_batches!(
        "select",
        "from batch where merchant_id = $1 and batch_id = $2",
        merchant_id.uuid(),
        id.uuid(),
    );
    let row = row.fetch_optional(&mut *conn).await?;
    one_with_lines(conn, row).await
}

/// Returns a page of a merchant's batches, newest first.
#[tracing::instrument(name = "db.batch.list", skip_all)]
pub(crate) async fn of_merchant(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Batch>, sqlx::Error> {
    let rows = query_batches!(
        "select",
        "from batch where merchant_id = $1 and batch_id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
         order by batch_id desc limit $3",
        merchant_id.uuid(),
        after,
        limit,
    );
    let rows = rows.fetch_all(&mut *conn).await?;
    with_lines(conn, rows).await
}

struct LineRow {
    transfer_id: Uuid,
    kind: String,
    payment_id: Option<Uuid>,
    refund_id: Option<Uuid>,
    currency: String,
    amount_minor: i64,
    fee_minor: i64,
    coupon_minor: Option<i64>,
    occur_time: jiff_sqlx::Timestamp,
}

impl TryFrom<LineRow> for StatementLine {
    type Error = InconsistentRow;

    fn try_from(row: LineRow) -> Result<Self, InconsistentRow> {
        let money = |minor| money("transfer", row.transfer_id, minor, &row.currency);
        let kind = TransferKind::from_name(&row.kind)
            .ok_or_else(|| inconsistent("transfer", "kind", row.transfer_id, &row.kind))?;
        let payment_id =
            row.payment_id.ok_or_else(|| inconsistent("transfer", "payment_id", row.transfer_id, "null"))?;
        Ok(Self {
            kind,
            transfer_id: TransferId::from_uuid(row.transfer_id),
            payment_id: PaymentId::from_uuid(payment_id),
            refund_id: row.refund_id.map(RefundId::from_uuid),
            amount: money(row.amount_minor)?,
            coupon: row.coupon_minor.map(money).transpose()?,
            fee: money(row.fee_minor)?,
            occur_time: row.occur_time.to_jiff(),
        })
    }
}

/// Returns a page of a batch's movements, oldest first, after the transfer given.
#[tracing::instrument(name = "db.batch.statement", skip_all)]
pub(crate) async fn statement(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: BatchId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<StatementLine>, sqlx::Error> {
    let rows = sqlx::query_as!(
        LineRow,
        r#"select t.transfer_id, t.kind, t.payment_id, t.refund_id, t.currency, m.amount_minor as "amount_minor!",
                m.fee_minor as "fee_minor!", (c.components -> 'coupon')::bigint as coupon_minor, t.occur_time
         from batch_item i join transfer t using (merchant_id, transfer_id)
         cross join lateral (select coalesce(t.components, components_of(t)) as components) c
         cross join lateral (
             -- What it brings to the merchant, by the rules: its fee, and all else.
             select coalesce(sum(p.value::bigint * s.sign) filter (where p.key <> 'fee'), 0)::bigint as amount_minor,
                    coalesce(sum(p.value::bigint * s.sign) filter (where p.key = 'fee'), 0)::bigint as fee_minor
             from jsonb_each(c.components) p
             join posting_rule r
                 on r.transfer_kind = t.kind and r.component = p.key and r.account_kind = 'merchant_payable'
             cross join lateral (select case r.direction when 'credit' then 1 else -1 end as sign) s
         ) m
         where i.merchant_id = $1 and i.batch_id = $2
           and (i.occur_time, i.transfer_id) > (
               coalesce((select occur_time from batch_item where merchant_id = $1 and transfer_id = $3), '-infinity'),
               coalesce($3::uuid, '00000000-0000-0000-0000-000000000000'))
         order by i.occur_time, i.transfer_id limit $4"#,
        merchant_id.uuid(),
        id.uuid(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| row.try_into().map_err(sqlx::Error::from)).collect()
}
