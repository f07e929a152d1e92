//! Refunds.

mod outcome;
mod reservation;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgExecutor, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::{LineId, MerchantId, OrderId, PaymentId, RefundId};
use tael_postgres::InconsistentRow;
use uuid::Uuid;

pub(crate) use outcome::{claim, complete, reject, reschedule, states};
pub(crate) use reservation::{claim_unreserved, postpone_reservation, reserved};

use super::{money, stored_units, units};
use crate::domain::{Refund, RefundedLine, State, VoucherUses};

/// Selects whole refunds: `query_refunds!(with, from, rest, arguments…)`. The columns are those of `r`, which `from`
/// names, and of its lines.
macro_rules! query_refunds {
    ($with:literal, $from:literal, $rest:literal, $($arguments:tt)*) => {
        sqlx::query_as!(
            $crate::store::refund::RefundRow,
            $with + r#" select r.merchant_id, r.refund_id, r.order_id, r.payment_id, r.currency, r.amount_minor, r.reason,
                r.state, r.failure_reason, r.operator, r.create_time, r.end_time, r.reserve_time, r.takes_everything,
                r.force_reason, l.line_ids as "line_ids!",
                l.quantities as "quantities!", l.amounts as "amounts!"
            from "# + $from + r#", lateral (
                select coalesce(array_agg(line_id order by position), '{}') as line_ids,
                       coalesce(array_agg(quantity order by position), '{}') as quantities,
                       coalesce(array_agg(amount_minor order by position), '{}') as amounts
                from refund_line where merchant_id = r.merchant_id and refund_id = r.refund_id
            ) l "# + $rest,
            $($arguments)*
        )
    };
}
use query_refunds;

/// A row of `refund` with its lines as parallel arrays.
struct RefundRow {
    merchant_id: Uuid,
    refund_id: Uuid,
    order_id: Uuid,
    payment_id: Uuid,
    currency: String,
    amount_minor: i64,
    reason: String,
    state: String,
    failure_reason: Option<String>,
    operator: Option<String>,
    create_time: jiff_sqlx::Timestamp,
    end_time: Option<jiff_sqlx::Timestamp>,
    reserve_time: Option<jiff_sqlx::Timestamp>,
    takes_everything: bool,
    force_reason: String,
    line_ids: Vec<Uuid>,
    quantities: Vec<i32>,
    amounts: Vec<i64>,
}

impl TryFrom<RefundRow> for Refund {
    type Error = InconsistentRow;

    fn try_from(row: RefundRow) -> Result<Self, InconsistentRow> {
        let id = RefundId::from_uuid(row.refund_id);
        let end_time = row.end_time.map(jiff_sqlx::Timestamp::to_jiff);
        let state = match (row.state.as_str(), end_time, row.failure_reason) {
            ("pending_approval", None, None) => State::PendingApproval,
            ("processing", None, None) => State::Processing,
            ("succeeded", Some(end_time), None) => State::Succeeded { end_time },
            ("failed", Some(end_time), Some(reason)) => State::Failed { end_time, reason },
            ("rejected", Some(end_time), None) => State::Rejected { end_time },
            (state, end_time, reason) => {
                return Err(InconsistentRow {
                    table: "refund",
                    column: "state",
                    row: id.to_string(),
                    problem: format!("{state:?} with end_time {end_time:?} and failure_reason {reason:?}"),
                });
            }
        };
        let amount = money(row.amount_minor, &row.currency, "refund", &id)?;
        let lines = row.line_ids.into_iter().zip(row.quantities).zip(row.amounts);
        let lines = lines
            .map(|((line_id, quantity), minor)| RefundedLine {
                line_id: LineId::from_uuid(line_id),
                quantity: units(quantity),
                amount: tael_money::Money::new(minor, amount.currency()),
            })
            .collect();
        Ok(Self {
            id,
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            order_id: OrderId::from_uuid(row.order_id),
            payment_id: PaymentId::from_uuid(row.payment_id),
            amount,
            lines,
            reason: row.reason,
            state,
            operator: row.operator,
            create_time: row.create_time.to_jiff(),
            vouchers: VoucherUses {
                unreserved: row.reserve_time.is_some(),
                takes_everything: row.takes_everything,
                force_reason: row.force_reason,
            },
        })
    }
}

/// Inserts a refund with its lines and sets its amount and units aside, unless its idempotency key was used; says
/// whether it did. The order must be locked.
#[tracing::instrument(name = "db.refund.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    refund: &Refund,
    key: &IdempotencyKey,
    lease_end: Timestamp,
    traceparent: &str,
) -> Result<bool, sqlx::Error> {
    let next_try_time = (refund.state == State::Processing).then_some(lease_end);
    let reserve_time = refund.vouchers.unreserved.then_some(lease_end);
    let line_ids: Vec<Uuid> = refund.lines.iter().map(|l| l.line_id.uuid()).collect();
    let quantities: Vec<i32> = refund.lines.iter().map(|l| stored_units(l.quantity)).collect();
    let amounts: Vec<i64> = refund.lines.iter().map(|l| l.amount.minor()).collect();
    let inserted = sqlx::query_scalar!(
        r#"with new as (
               insert into refund (merchant_id, refund_id, order_id, payment_id, currency, amount_minor, reason, state,
                                   create_time, next_try_time, traceparent, idempotency_key, fingerprint,
                                   reserve_time, takes_everything, force_reason)
               values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $17, $18, $19)
               on conflict (merchant_id, idempotency_key) do nothing
               returning merchant_id, refund_id, order_id, amount_minor
           ), part as (
               select new.merchant_id, new.order_id, new.refund_id, l.*
               from new, unnest($14::uuid[], $15::integer[], $16::bigint[])
                         with ordinality as l (line_id, quantity, amount_minor, position)
           ), line as (
               insert into refund_line (merchant_id, refund_id, line_id, position, quantity, amount_minor)
               select merchant_id, refund_id, line_id, position, quantity, amount_minor from part
           ), taken as (
               update refund_order_line l
               set taken = l.taken + part.quantity, taken_minor = l.taken_minor + part.amount_minor
               from part
               where l.merchant_id = part.merchant_id and l.order_id = part.order_id and l.line_id = part.line_id
           ), reserved as (
               update refund_order o set reserved_minor = o.reserved_minor + new.amount_minor
               from new where o.merchant_id = new.merchant_id and o.order_id = new.order_id
           )
           select exists (select from new) as "inserted!""#,
        refund.merchant_id.uuid(),
        refund.id.uuid(),
        refund.order_id.uuid(),
        refund.payment_id.uuid(),
        refund.amount.currency().code(),
        refund.amount.minor(),
        refund.reason,
        refund.state.name(),
        refund.create_time.to_sqlx() as _,
        next_try_time.map(Timestamp::to_sqlx) as _,
        traceparent,
        key.key,
        key.fingerprint,
        &line_ids,
        &quantities,
        &amounts,
        reserve_time.map(Timestamp::to_sqlx) as _,
        refund.vouchers.takes_everything,
        refund.vouchers.force_reason,
    )
    .fetch_one(conn)
    .await?;
    Ok(inserted)
}

/// Returns the refund that was created under an idempotency key, and the request's fingerprint.
#[tracing::instrument(name = "db.refund.by_key", skip_all)]
pub(crate) async fn by_key(
    executor: impl PgExecutor<'_>,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<(RefundId, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select refund_id, fingerprint from refund where merchant_id = $1 and idempotency_key = $2",
        merchant_id.uuid(),
        key,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| (RefundId::from_uuid(row.refund_id), row.fingerprint)))
}

/// Returns a refund.
#[tracing::instrument(name = "db.refund.get", skip_all)]
pub(crate) async fn get(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: RefundId,
) -> Result<Option<Refund>, sqlx::Error> {
    let row = query_refunds!(
        "",
        "refund r",
        "where r.merchant_id = $1 and r.refund_id = $2",
        merchant_id.uuid(),
        id.uuid(),
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(Refund::try_from).transpose()?)
}

/// Returns a refund and keeps others from moving it until the transaction ends.
#[tracing::instrument(name = "db.refund.lock", skip_all)]
pub(crate) async fn lock(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: RefundId,
) -> Result<Option<Refund>, sqlx::Error> {
    let row = query_refunds!(
        "",
        "refund r",
        "where r.merchant_id = $1 and r.refund_id = $2
           for update of r",
        merchant_id.uuid(),
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(Refund::try_from).transpose()?)
}

/// Returns a merchant's refunds, newest first: those of one order if one is given, those after an id if one is given.
#[tracing::instrument(name = "db.refund.list", skip_all)]
pub(crate) async fn list(
    pool: &PgPool,
    merchant_id: MerchantId,
    order_id: Option<OrderId>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Refund>, sqlx::Error> {
    let rows = query_refunds!(
        "",
        "refund r",
        "where r.merchant_id = $1 and ($2::uuid is null or r.order_id = $2) and ($3::uuid is null or r.refund_id < $3)
           order by r.refund_id desc
           limit $4",
        merchant_id.uuid(),
        order_id.map(OrderId::uuid),
        after,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| Ok(row.try_into()?)).collect()
}

/// Approves a refund that awaits approval; says whether it did.
#[tracing::instrument(name = "db.refund.approve", skip_all)]
pub(crate) async fn approve(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: RefundId,
    operator: &str,
    next_try_time: Timestamp,
) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query!(
        "update refund set state = 'processing', operator = $3, next_try_time = $4
         where merchant_id = $1 and refund_id = $2 and state = 'pending_approval'",
        merchant_id.uuid(),
        id.uuid(),
        operator,
        next_try_time.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(moved.rows_affected() == 1)
}

/// Says whether the payment service is being asked for the first time.
// Asked again and again: below the level that is exported.
#[tracing::instrument(level = "debug", name = "db.refund.is_first_try", skip_all)]
pub(crate) async fn is_first_try(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: RefundId,
) -> Result<bool, sqlx::Error> {
    let row = sqlx::query!(
        "select refund_id from refund where merchant_id = $1 and refund_id = $2 and state = 'processing' and tries = 0",
        merchant_id.uuid(),
        id.uuid(),
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.is_some())
}
