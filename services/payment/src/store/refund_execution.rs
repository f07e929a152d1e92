//! Table `payment_refund`, and the refund columns of `payment`.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use sqlx::{PgConnection, PgPool};
use tael_ids::{AttemptId, MerchantId, PaymentId, RefundId};
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use super::{expect_one, failure, money};
use crate::domain::payment::{Failure, Schedule};
use crate::domain::refund_execution::{Refund, RefundState};

struct RefundRow {
    merchant_id: Uuid,
    refund_id: Uuid,
    payment_id: Uuid,
    attempt_id: Uuid,
    amount_minor: i64,
    currency: String,
    reason: String,
    state: String,
    failure_reason: Option<String>,
    failure_code: Option<String>,
    create_time: jiff_sqlx::Timestamp,
    refund_time: Option<jiff_sqlx::Timestamp>,
    tries: i32,
    lease_until: Option<jiff_sqlx::Timestamp>,
    traceparent: String,
}

impl TryFrom<RefundRow> for Refund {
    type Error = InconsistentRow;

    fn try_from(row: RefundRow) -> Result<Self, InconsistentRow> {
        let id = RefundId::from_uuid(row.refund_id);
        let name = id.to_string();
        let state = match (row.state.as_str(), row.refund_time) {
            ("pending", None) => RefundState::Pending,
            ("succeeded", Some(at)) => RefundState::Succeeded { refund_time: at.to_jiff() },
            ("failed", None) => RefundState::Failed(failure(
                "payment_refund",
                &name,
                row.failure_reason.as_deref(),
                row.failure_code,
            )?),
            (state, refund_time) => {
                return Err(InconsistentRow {
                    table: "payment_refund",
                    column: "state",
                    row: name,
                    problem: format!("{state:?} with refund_time {refund_time:?}"),
                });
            }
        };
        Ok(Self {
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            id,
            payment_id: PaymentId::from_uuid(row.payment_id),
            attempt_id: AttemptId::from_uuid(row.attempt_id),
            amount: money("payment_refund", &name, row.amount_minor, &row.currency)?,
            reason: row.reason,
            state,
            create_time: row.create_time.to_jiff(),
            schedule: Schedule {
                tries: row.tries,
                lease_until: row.lease_until.map(jiff_sqlx::Timestamp::to_jiff),
            },
            traceparent: row.traceparent,
        })
    }
}

/// The columns of a [`RefundRow`], between what comes before and after them.
macro_rules! refund_columns {
    ($before:literal, $after:literal, $($arg:tt)*) => {
        sqlx::query_as!(
            RefundRow,
            $before + " payment_refund.merchant_id, payment_refund.refund_id, payment_id, attempt_id, amount_minor,
                        currency, reason, state, failure_reason, failure_code, create_time, refund_time, tries,
                        lease_until, traceparent " + $after,
            $($arg)*
        )
    };
}

/// Reserves an amount and inserts its refund unless its id was used; says whether it did. The payment must be locked.
#[tracing::instrument(name = "db.refund.reserve", skip_all)]
pub(crate) async fn reserve(
    conn: &mut PgConnection,
    refund: &Refund,
    next_query_time: Timestamp,
) -> Result<bool, sqlx::Error> {
    let updated = sqlx::query!(
        "with new_refund as (
             insert into payment_refund (merchant_id, refund_id, payment_id, attempt_id, amount_minor, currency, reason,
                                         state, create_time, next_query_time, lease_until, traceparent)
             values ($1, $2, $3, $4, $5, $6, $7, 'pending', $8, $9, $10, $11)
             on conflict (merchant_id, refund_id) do nothing
             returning merchant_id, payment_id, amount_minor
         )
         update payment set refund_reserved_minor = refund_reserved_minor + new_refund.amount_minor
         from new_refund
         where payment.merchant_id = new_refund.merchant_id and payment.payment_id = new_refund.payment_id
           and payment.state = 'succeeded'",
        refund.merchant_id.uuid(),
        refund.id.uuid(),
        refund.payment_id.uuid(),
        refund.attempt_id.uuid(),
        refund.amount.minor(),
        refund.amount.currency().code(),
        refund.reason,
        refund.create_time.to_sqlx() as _,
        next_query_time.to_sqlx() as _,
        refund.schedule.lease_until.map(ToSqlx::to_sqlx) as _,
        refund.traceparent,
    )
    .execute(conn)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// Records that the channel moved the money: the reservation becomes a refund. The payment must be locked.
#[tracing::instrument(name = "db.refund.succeed", skip_all)]
pub(crate) async fn succeed(
    conn: &mut PgConnection,
    refund: &Refund,
    refund_time: Timestamp,
) -> Result<(), sqlx::Error> {
    let updated = sqlx::query!(
        "with done as (
             update payment_refund set state = 'succeeded', refund_time = $3, next_query_time = null,
                                       lease_until = null
             where merchant_id = $1 and refund_id = $2 and state = 'pending'
             returning merchant_id, payment_id, amount_minor
         )
         update payment set refund_reserved_minor = refund_reserved_minor - done.amount_minor,
                            refunded_minor = refunded_minor + done.amount_minor
         from done
         where payment.merchant_id = done.merchant_id and payment.payment_id = done.payment_id
           and payment.state = 'succeeded'",
        refund.merchant_id.uuid(),
        refund.id.uuid(),
        refund_time.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(expect_one("payment_refund", &refund.id, &updated)?)
}

/// Records that the channel refused and releases the reservation. The payment must be locked.
#[tracing::instrument(name = "db.refund.fail", skip_all)]
pub(crate) async fn fail(
    conn: &mut PgConnection,
    refund: &Refund,
    failure: &Failure,
) -> Result<(), sqlx::Error> {
    let updated = sqlx::query!(
        "with done as (
             update payment_refund set state = 'failed', failure_reason = $3, failure_code = $4,
                                       next_query_time = null, lease_until = null
             where merchant_id = $1 and refund_id = $2 and state = 'pending'
             returning merchant_id, payment_id, amount_minor
         )
         update payment set refund_reserved_minor = refund_reserved_minor - done.amount_minor
         from done
         where payment.merchant_id = done.merchant_id and payment.payment_id = done.payment_id
           and payment.state = 'succeeded'",
        refund.merchant_id.uuid(),
        refund.id.uuid(),
        failure.reason.name(),
        failure.channel_code,
    )
    .execute(conn)
    .await?;
    Ok(expect_one("payment_refund", &refund.id, &updated)?)
}

/// Sets when to ask about a pending refund again and ends the lease. One that has ended is left alone.
#[tracing::instrument(name = "db.refund.reschedule", skip_all)]
pub(crate) async fn reschedule(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: RefundId,
    next_query_time: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update payment_refund set next_query_time = $3, lease_until = null
         where merchant_id = $1 and refund_id = $2 and state = 'pending'",
        merchant_id.uuid(),
        id.uuid(),
        next_query_time.to_sqlx() as _,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes the lease of a pending refund if nobody has it, counts the try, and returns the refund.
#[tracing::instrument(name = "db.refund.lease", skip_all)]
pub(crate) async fn lease(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: RefundId,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Refund>, sqlx::Error> {
    refund_columns!(
        "update payment_refund set lease_until = $4, tries = tries + 1
         where merchant_id = $1 and refund_id = $2 and state = 'pending' and (lease_until is null or lease_until <= $3)
         returning",
        "",
        merchant_id.uuid(),
        id.uuid(),
        now.to_sqlx() as _,
        until.to_sqlx() as _,
    )
    .fetch_optional(pool)
    .await?
    .map(Refund::try_from)
    .transpose()
    .map_err(Into::into)
}

/// Takes the leases of at most `limit` refunds that are due, whosever they are. Replicas never get the same.
#[tracing::instrument(name = "db.refund.claim_due", level = "debug", skip_all)]
pub(crate) async fn claim_due(
    pool: &PgPool,
    now: Timestamp,
    lease_until: Timestamp,
    limit: i64,
) -> Result<Vec<Refund>, sqlx::Error> {
    let rows = refund_columns!(
        "update payment_refund set lease_until = $2, tries = tries + 1
         from (
             select merchant_id, refund_id from payment_refund
             where next_query_time <= $1 and (lease_until is null or lease_until <= $1)
             order by next_query_time limit $3
             for update skip locked
         ) due
         where payment_refund.merchant_id = due.merchant_id and payment_refund.refund_id = due.refund_id
         returning",
        "",
        now.to_sqlx() as _,
        lease_until.to_sqlx() as _,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| row.try_into().map_err(Into::into)).collect()
}

/// Returns a refund.
#[tracing::instrument(name = "db.refund.get", skip_all)]
pub(crate) async fn get(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: RefundId,
) -> Result<Option<Refund>, sqlx::Error> {
    refund_columns!(
        "select",
        "from payment_refund where merchant_id = $1 and refund_id = $2",
        merchant_id.uuid(),
        id.uuid()
    )
    .fetch_optional(conn)
    .await?
    .map(Refund::try_from)
    .transpose()
    .map_err(Into::into)
}
