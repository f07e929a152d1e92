//! Batches, their items and their statements.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::{BatchId, MerchantId, PaymentId, RefundId, TransferId};
use tael_money::Currency;
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use super::{count, inconsistent, money};
use crate::domain::ledger::transfer::TransferKind;
use crate::domain::settlement_batch::{Batch, StatementLine};

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

impl TryFrom<BatchRow> for Batch {
    type Error = InconsistentRow;

    fn try_from(row: BatchRow) -> Result<Self, InconsistentRow> {
        let money = |minor| money("batch", row.batch_id, minor, &row.currency);
        Ok(Self {
            id: BatchId::from_uuid(row.batch_id),
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            cut_off_time: row.cut_off_time.to_jiff(),
            payment_count: count("batch", "payment_count", row.batch_id, row.payment_count)?,
            refund_count: count("batch", "refund_count", row.batch_id, row.refund_count)?,
            gross: money(row.gross_minor)?,
            refunds: money(row.refunds_minor)?,
            fees: money(row.fees_minor)?,
            fees_returned: money(row.fees_returned_minor)?,
            held: money(row.held_minor)?,
            released: money(row.released_minor)?,
            net: money(row.net_minor)?,
            close_time: row.close_time.to_jiff(),
        })
    }
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
    let row = sqlx::query_as!(
        BatchRow,
        "with taken as (
             update batch_item set batch_id = $2
             where merchant_id = $1 and currency = $3 and occur_time < $4 and batch_id is null
             returning merchant_id, transfer_id
         ), sums as (
             select count(*) filter (where t.kind = 'payment') as payment_count,
                    count(*) filter (where t.kind = 'refund') as refund_count,
                    coalesce(sum(t.gross_minor) filter (where t.kind = 'payment'), 0) as gross,
                    coalesce(sum(t.gross_minor) filter (where t.kind = 'refund'), 0) as refunds,
                    coalesce(sum(t.fee_minor) filter (where t.kind = 'payment'), 0) as fees,
                    coalesce(sum(t.fee_minor) filter (where t.kind = 'refund'), 0) as fees_returned,
                    coalesce(sum(t.gross_minor) filter (where t.kind = 'hold'), 0) as held,
                    coalesce(sum(t.gross_minor) filter (where t.kind = 'release'), 0) as released
             from taken join transfer t using (merchant_id, transfer_id)
         )
         insert into batch (merchant_id, batch_id, currency, cut_off_time, payment_count, refund_count, gross_minor,
             refunds_minor, fees_minor, fees_returned_minor, held_minor, released_minor, net_minor, close_time,
             idempotency_key, fingerprint)
         select $1, $2, $3, $4, payment_count, refund_count, gross, refunds, fees, fees_returned, held, released,
                gross - refunds - fees + fees_returned - held + released, $5, $6, $7
         from sums where exists (select from taken)
         returning merchant_id, batch_id, currency, cut_off_time, payment_count, refund_count, gross_minor,
             refunds_minor, fees_minor, fees_returned_minor, held_minor, released_minor, net_minor, close_time",
        closing.merchant_id.uuid(),
        closing.batch_id.uuid(),
        closing.currency.code(),
        closing.cut_off_time.to_sqlx() as _,
        closing.close_time.to_sqlx() as _,
        guard.key,
        guard.fingerprint,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Batch::try_from).transpose()?)
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
    let row = sqlx::query_as!(
        BatchRow,
        "select merchant_id, batch_id, currency, cut_off_time, payment_count, refund_count, gross_minor,
                refunds_minor, fees_minor, fees_returned_minor, held_minor, released_minor, net_minor, close_time
         from batch where merchant_id = $1 and batch_id = $2",
        merchant_id.uuid(),
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Batch::try_from).transpose()?)
}

/// Returns a page of a merchant's batches, newest first.
#[tracing::instrument(name = "db.batch.list", skip_all)]
pub(crate) async fn of_merchant(
    pool: &PgPool,
    merchant_id: MerchantId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Batch>, sqlx::Error> {
    let rows = sqlx::query_as!(
        BatchRow,
        "select merchant_id, batch_id, currency, cut_off_time, payment_count, refund_count, gross_minor,
                refunds_minor, fees_minor, fees_returned_minor, held_minor, released_minor, net_minor, close_time
         from batch where merchant_id = $1 and batch_id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
         order by batch_id desc limit $3",
        merchant_id.uuid(),
        after,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| row.try_into().map_err(sqlx::Error::from)).collect()
}

struct LineRow {
    transfer_id: Uuid,
    kind: String,
    payment_id: Option<Uuid>,
    refund_id: Option<Uuid>,
    currency: String,
    gross_minor: i64,
    fee_minor: i64,
    occur_time: jiff_sqlx::Timestamp,
}

impl TryFrom<LineRow> for StatementLine {
    type Error = InconsistentRow;

    fn try_from(row: LineRow) -> Result<Self, InconsistentRow> {
        let money = |minor| money("transfer", row.transfer_id, minor, &row.currency);
        let kind = TransferKind::from_name(&row.kind)
            .ok_or_else(|| inconsistent("transfer", "kind", row.transfer_id, &row.kind))?;
        let (payment_id, amount, fee) = match (kind, row.payment_id, row.refund_id) {
            (TransferKind::Payment, Some(payment), None) => (payment, row.gross_minor, -row.fee_minor),
            (TransferKind::Refund, Some(payment), Some(_)) => (payment, -row.gross_minor, row.fee_minor),
            (TransferKind::Hold, Some(payment), None) => (payment, -row.gross_minor, 0),
            (TransferKind::Release, Some(payment), None) => (payment, row.gross_minor, 0),
            (
                TransferKind::Payment
                | TransferKind::Refund
                | TransferKind::Hold
                | TransferKind::Release
                | TransferKind::Batch,
                _,
                _,
            ) => return Err(inconsistent("transfer", "kind", row.transfer_id, &row.kind)),
        };
        Ok(Self {
            kind,
            transfer_id: TransferId::from_uuid(row.transfer_id),
            payment_id: PaymentId::from_uuid(payment_id),
            refund_id: row.refund_id.map(RefundId::from_uuid),
            amount: money(amount)?,
            fee: money(fee)?,
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
        "select t.transfer_id, t.kind, t.payment_id, t.refund_id, t.currency, t.gross_minor, t.fee_minor, t.occur_time
         from batch_item i join transfer t using (merchant_id, transfer_id)
         where i.merchant_id = $1 and i.batch_id = $2
           and (i.occur_time, i.transfer_id) > (
               coalesce((select occur_time from batch_item where merchant_id = $1 and transfer_id = $3), '-infinity'),
               coalesce($3::uuid, '00000000-0000-0000-0000-000000000000'))
         order by i.occur_time, i.transfer_id limit $4",
        merchant_id.uuid(),
        id.uuid(),
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| row.try_into().map_err(sqlx::Error::from)).collect()
}
