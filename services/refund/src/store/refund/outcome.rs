//! How refunds in progress end, and which are to be tried again.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_ids::{MerchantId, PaymentId, RefundId};
use uuid::Uuid;

use super::super::money;
use super::query_refunds;
use crate::domain::{Instruction, Outcome, Refund, RefundOutcome, State};

/// Completes refunds whose state is one of `from`: on success their amounts become refunded, on failure they and the units
/// are given back. Returns those that were moved; the others were completed before. No refund may be given twice.
#[tracing::instrument(name = "db.refund.complete", skip_all)]
pub(crate) async fn complete(
    conn: &mut PgConnection,
    outcomes: &[RefundOutcome],
    from: &[&'static str],
    now: Timestamp,
) -> Result<Vec<Refund>, sqlx::Error> {
    let from: Vec<String> = from.iter().map(ToString::to_string).collect();
    let (merchants, ids) = keys(outcomes);
    let failures: Vec<Option<String>> = outcomes
        .iter()
        .map(|e| match &e.outcome {
            Outcome::Succeeded => None,
            Outcome::Failed(reason) => Some(reason.clone()),
        })
        .collect();
    let rows = query_refunds!(
        "with outcome as (
               select * from unnest($1::uuid[], $2::uuid[], $3::text[]) as o (merchant_id, refund_id, failure_reason)
           ), moved as (
               update refund r
               set state = case when o.failure_reason is null then 'succeeded' else 'failed' end,
                   failure_reason = o.failure_reason, end_time = $4, next_try_time = null,
                   reserve_time = null
               from outcome o
               where r.merchant_id = o.merchant_id and r.refund_id = o.refund_id and r.state = any ($5)
               returning r.*
           ), balance as (
               update refund_order o set reserved_minor = o.reserved_minor - m.amount_minor,
                                         refunded_minor = o.refunded_minor + m.succeeded_minor
               from (
                   select merchant_id, order_id, sum(amount_minor)::bigint as amount_minor,
                          coalesce(sum(amount_minor) filter (where state = 'succeeded'), 0)::bigint as succeeded_minor
                   from moved group by merchant_id, order_id
               ) m
               where o.merchant_id = m.merchant_id and o.order_id = m.order_id
           ), given_back as (
               update refund_order_line l
               set taken = l.taken - m.quantity, taken_minor = l.taken_minor - m.amount_minor
               from (
                   select moved.merchant_id, moved.order_id, line.line_id, sum(line.quantity)::integer as quantity,
                          sum(line.amount_minor)::bigint as amount_minor
                   from moved join refund_line line
                        on line.merchant_id = moved.merchant_id and line.refund_id = moved.refund_id
                   where moved.state = 'failed'
                   group by moved.merchant_id, moved.order_id, line.line_id
               ) m
               where l.merchant_id = m.merchant_id and l.order_id = m.order_id and l.line_id = m.line_id
           )",
        "moved r",
        "",
        &merchants,
        &ids,
        &failures as _,
        now.to_sqlx() as _,
        &from,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| Ok(row.try_into()?)).collect()
}

/// Returns where refunds stand; unknown ones are left out.
#[tracing::instrument(name = "db.refund.states", skip_all)]
pub(crate) async fn states(
    conn: &mut PgConnection,
    outcomes: &[RefundOutcome],
) -> Result<Vec<(RefundId, State)>, sqlx::Error> {
    let (merchants, ids) = keys(outcomes);
    let rows = query_refunds!(
        "",
        "refund r join unnest($1::uuid[], $2::uuid[]) as o (merchant_id, refund_id)
              on r.merchant_id = o.merchant_id and r.refund_id = o.refund_id",
        "",
        &merchants,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok(Refund::try_from(row)?))
        .map(|r| r.map(|r: Refund| (r.id, r.state)))
        .collect()
}

/// Rejects a refund that awaits approval and gives back what it took; says whether it did.
#[tracing::instrument(name = "db.refund.reject", skip_all)]
pub(crate) async fn reject(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: RefundId,
    operator: &str,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let moved = sqlx::query_scalar!(
        r#"with moved as (
               update refund set state = 'rejected', operator = $3, end_time = $4, reserve_time = null
               where merchant_id = $1 and refund_id = $2 and state = 'pending_approval'
               returning merchant_id, refund_id, order_id, amount_minor
           ), balance as (
               update refund_order o set reserved_minor = o.reserved_minor - m.amount_minor
               from moved m where o.merchant_id = m.merchant_id and o.order_id = m.order_id
           ), given_back as (
               update refund_order_line l
               set taken = l.taken - line.quantity, taken_minor = l.taken_minor - line.amount_minor
               from moved m join refund_line line on line.merchant_id = m.merchant_id and line.refund_id = m.refund_id
               where l.merchant_id = m.merchant_id and l.order_id = m.order_id and l.line_id = line.line_id
           )
           select exists (select from moved) as "moved!""#,
        merchant_id.uuid(),
        id.uuid(),
        operator,
        now.to_sqlx() as _,
    )
    .fetch_one(conn)
    .await?;
    Ok(moved)
}

/// Counts a call that gave no final answer and sets when to try again, if the refund is still being processed.
#[tracing::instrument(name = "db.refund.reschedule", skip_all)]
pub(crate) async fn reschedule(
    pool: &PgPool,
    instruction: &Instruction,
    next_try_time: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update refund set tries = tries + 1, next_try_time = $3
         where merchant_id = $1 and refund_id = $2 and state = 'processing'",
        instruction.merchant_id.uuid(),
        instruction.refund_id.uuid(),
        next_try_time.to_sqlx() as _,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes refunds whose next try is due, so that no other worker takes them before `lease_end`. With each comes the
/// trace in which it was requested, and whether what it takes of vouchers is yet to be set aside.
#[tracing::instrument(level = "debug", name = "db.refund.claim", skip_all)]
pub(crate) async fn claim(
    pool: &PgPool,
    now: Timestamp,
    lease_end: Timestamp,
    limit: i64,
) -> Result<Vec<(Instruction, String, bool)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"update refund r set next_try_time = $2
         from (
             select merchant_id, refund_id from refund
             where state = 'processing' and next_try_time <= $1
             order by next_try_time
             limit $3
             for update skip locked
         ) due
         where r.merchant_id = due.merchant_id and r.refund_id = due.refund_id and r.state = 'processing'
         returning r.merchant_id, r.refund_id, r.payment_id, r.currency, r.amount_minor, r.reason, r.tries,
                   r.traceparent, r.reserve_time is not null as "unreserved!""#,
        now.to_sqlx() as _,
        lease_end.to_sqlx() as _,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let refund_id = RefundId::from_uuid(row.refund_id);
            let instruction = Instruction {
                merchant_id: MerchantId::from_uuid(row.merchant_id),
                refund_id,
                payment_id: PaymentId::from_uuid(row.payment_id),
                amount: money(row.amount_minor, &row.currency, "refund", &refund_id)?,
                reason: row.reason,
                tries: row.tries.unsigned_abs(),
            };
            Ok((instruction, row.traceparent, row.unreserved))
        })
        .collect()
}

fn keys(outcomes: &[RefundOutcome]) -> (Vec<Uuid>, Vec<Uuid>) {
    outcomes.iter().map(|e| (e.merchant_id.uuid(), e.refund_id.uuid())).unzip()
}
