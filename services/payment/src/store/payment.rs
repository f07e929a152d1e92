//! Tables `payment` and `attempt`.

mod rows;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::{AttemptId, ChannelAccountId, MerchantId, OrderId, PaymentId};
use uuid::Uuid;

use self::rows::{AttemptRow, JoinedRow, PaymentRow, assemble};
use super::expect_one;
use crate::domain::evidence::Paid;
use crate::domain::next_action::NextAction;
use crate::domain::payment::{Attempt, Failure, Payment};

/// What may say that an order has a payment already.
pub(crate) const ONE_ACTIVE: &str = "payment_one_active";

/// Inserts a payment with its first attempt unless its idempotency key was used; says whether it did. Violates
/// [`ONE_ACTIVE`] when the order has another payment that may still bring money.
#[tracing::instrument(name = "db.payment.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    payment: &Payment,
    next_query_time: Timestamp,
    guard: &IdempotencyKey,
) -> Result<bool, sqlx::Error> {
    let attempt = payment.latest_attempt();
    let inserted = sqlx::query!(
        "with new_payment as (
             insert into payment (merchant_id, payment_id, order_id, amount_minor, currency, state, holds_order,
                                  subject, create_time, expire_time, idempotency_key, fingerprint)
             values ($1, $2, $3, $4, $5, 'created', true, $6, $7, $8, $9, $10)
             on conflict on constraint payment_idempotency do nothing
             returning merchant_id, payment_id
         )
         insert into attempt (merchant_id, payment_id, attempt_id, channel_account_id, channel, method, state,
                              in_doubt, routing_reason, create_time, next_query_time, lease_until, traceparent, input)
         select merchant_id, payment_id, $11, $12, $13, $14, 'initiated', true, $15, $7, $16, $17, $18, $19
         from new_payment",
        payment.merchant_id.uuid(),
        payment.id.uuid(),
        payment.order_id.uuid(),
        payment.amount.minor(),
        payment.amount.currency().code(),
        payment.subject,
        payment.create_time.to_sqlx() as _,
        payment.expire_time.to_sqlx() as _,
        guard.key,
        guard.fingerprint,
        attempt.id.uuid(),
        attempt.channel_account_id.uuid(),
        attempt.channel.as_str(),
        attempt.method.name(),
        attempt.routing_reason,
        next_query_time.to_sqlx() as _,
        attempt.schedule.lease_until.map(ToSqlx::to_sqlx) as _,
        attempt.traceparent,
        serde_json::to_value(&attempt.input).ok(),
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Records that the payer can pay, if the attempt still waits for that; says whether it did. Ends the lease.
#[tracing::instrument(name = "db.payment.await_payer", skip_all)]
pub(crate) async fn await_payer(
    pool: &PgPool,
    payment: &Payment,
    attempt_id: AttemptId,
    action: &NextAction,
    refs: &Value,
    next_query_time: Timestamp,
) -> Result<bool, sqlx::Error> {
    // For the build before, which knows codes only.
    let qr_code = match action {
        NextAction::QrCode { text } => Some(text.as_str()),
        NextAction::Redirect { .. }
        | NextAction::ClientParameters { .. }
        | NextAction::Instructions { .. }
        | NextAction::Wait => None,
    };
    let updated = sqlx::query!(
        "with pending as (
             update payment set state = 'pending'
             where merchant_id = $1 and payment_id = $2 and state = 'created'
             returning merchant_id, payment_id
         )
         update attempt set state = 'pending', in_doubt = false, problem = null, qr_code = $4, next_action = $6,
                            refs = $7, next_query_time = $5, lease_until = null
         from pending
         where attempt.merchant_id = pending.merchant_id and attempt.payment_id = pending.payment_id
           and attempt.attempt_id = $3 and attempt.state = 'initiated'",
        payment.merchant_id.uuid(),
        payment.id.uuid(),
        attempt_id.uuid(),
        qr_code,
        next_query_time.to_sqlx() as _,
        serde_json::to_value(action).ok(),
        refs,
    )
    .execute(pool)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// Records that the payer paid. The payment and its attempt must be locked, in the states given.
#[tracing::instrument(name = "db.payment.succeed", skip_all)]
pub(crate) async fn succeed(
    conn: &mut PgConnection,
    payment: &Payment,
    attempt: &Attempt,
    paid: &Paid,
) -> Result<(), sqlx::Error> {
    let updated = sqlx::query!(
        "with paid as (
             update payment set state = 'succeeded', pay_time = $4, authorized_minor = $8, captured_minor = $8
             where merchant_id = $1 and payment_id = $2 and state = $5
             returning merchant_id, payment_id
         )
         update attempt set state = 'succeeded', in_doubt = false, problem = null, channel_transaction_id = $6, next_query_time = null,
                            lease_until = null, failure_reason = null, failure_code = null
         from paid
         where attempt.merchant_id = paid.merchant_id and attempt.payment_id = paid.payment_id
           and attempt.attempt_id = $3 and attempt.state = $7",
        payment.merchant_id.uuid(),
        payment.id.uuid(),
        attempt.id.uuid(),
        paid.pay_time.to_sqlx() as _,
        payment.state.name(),
        paid.channel_transaction_id,
        attempt.state.name(),
        paid.amount.minor(),
    )
    .execute(conn)
    .await?;
    Ok(expect_one("payment", &payment.id, &updated)?)
}

/// Lets the order of a payment that the channel reversed be paid by another one. The payment must be locked.
#[tracing::instrument(name = "db.payment.release_order", skip_all)]
pub(crate) async fn release_order(conn: &mut PgConnection, payment: &Payment) -> Result<(), sqlx::Error> {
    let updated = sqlx::query!(
        "update payment set holds_order = false
         where merchant_id = $1 and payment_id = $2 and state = 'succeeded' and refunded_minor = captured_minor",
        payment.merchant_id.uuid(),
        payment.id.uuid(),
    )
    .execute(conn)
    .await?;
    Ok(expect_one("payment", &payment.id, &updated)?)
}

/// Records that the payment can no longer be paid. The payment and its attempt must be locked, in the states given.
#[tracing::instrument(name = "db.payment.close", skip_all)]
pub(crate) async fn close(
    conn: &mut PgConnection,
    payment: &Payment,
    attempt: &Attempt,
) -> Result<(), sqlx::Error> {
    let updated = sqlx::query!(
        "with closed as (
             update payment set state = 'closed', holds_order = false
             where merchant_id = $1 and payment_id = $2 and state = $4
             returning merchant_id, payment_id
         )
         update attempt set state = 'closed', in_doubt = false, next_query_time = null, lease_until = null
         from closed
         where attempt.merchant_id = closed.merchant_id and attempt.payment_id = closed.payment_id
           and attempt.attempt_id = $3 and attempt.state = $5",
        payment.merchant_id.uuid(),
        payment.id.uuid(),
        attempt.id.uuid(),
        payment.state.name(),
        attempt.state.name(),
    )
    .execute(conn)
    .await?;
    Ok(expect_one("payment", &payment.id, &updated)?)
}

/// Records that the channel refused. The payment and its attempt must be locked, in the states given.
#[tracing::instrument(name = "db.payment.fail", skip_all)]
pub(crate) async fn fail(
    conn: &mut PgConnection,
    payment: &Payment,
    attempt: &Attempt,
    failure: &Failure,
) -> Result<(), sqlx::Error> {
    let updated = sqlx::query!(
        "with failed as (
             update payment set state = 'failed', holds_order = false
             where merchant_id = $1 and payment_id = $2 and state = $4
             returning merchant_id, payment_id
         )
         update attempt set state = 'failed', in_doubt = false, failure_reason = $6, failure_code = $7,
                            next_query_time = null, lease_until = null
         from failed
         where attempt.merchant_id = failed.merchant_id and attempt.payment_id = failed.payment_id
           and attempt.attempt_id = $3 and attempt.state = $5",
        payment.merchant_id.uuid(),
        payment.id.uuid(),
        attempt.id.uuid(),
        payment.state.name(),
        attempt.state.name(),
        failure.reason.name(),
        failure.channel_code,
    )
    .execute(conn)
    .await?;
    Ok(expect_one("payment", &payment.id, &updated)?)
}

/// Records that an open attempt's state stays as it is, when to look again, and ends the lease. An attempt that has
/// ended in the meantime is left alone.
#[tracing::instrument(name = "db.attempt.reschedule", skip_all)]
pub(crate) async fn reschedule(
    pool: &PgPool,
    merchant_id: MerchantId,
    attempt_id: AttemptId,
    in_doubt: bool,
    problem: Option<&str>,
    next_query_time: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update attempt set in_doubt = $3, problem = left($5, 256), next_query_time = $4, lease_until = null
         where merchant_id = $1 and attempt_id = $2 and state in ('initiated', 'pending')",
        merchant_id.uuid(),
        attempt_id.uuid(),
        in_doubt,
        next_query_time.to_sqlx() as _,
        problem,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes the lease of an open attempt if nobody has it; says whether it did.
pub(crate) async fn lease(
    pool: &PgPool,
    merchant_id: MerchantId,
    attempt_id: AttemptId,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, sqlx::Error> {
    let mut conn = pool.acquire().await?;
    lease_in(&mut conn, merchant_id, attempt_id, now, until).await
}

/// The same in a transaction, after whose end it holds.
#[tracing::instrument(name = "db.attempt.lease", skip_all)]
pub(crate) async fn lease_in(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    attempt_id: AttemptId,
    now: Timestamp,
    until: Timestamp,
) -> Result<bool, sqlx::Error> {
    let updated = sqlx::query!(
        "update attempt set lease_until = $4
         where merchant_id = $1 and attempt_id = $2 and state in ('initiated', 'pending')
           and (lease_until is null or lease_until <= $3)",
        merchant_id.uuid(),
        attempt_id.uuid(),
        now.to_sqlx() as _,
        until.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// An attempt that is due to be asked about.
#[derive(Clone, Debug)]
pub(crate) struct Due {
    pub(crate) merchant_id: MerchantId,
    pub(crate) payment_id: PaymentId,
    pub(crate) attempt_id: AttemptId,
    /// How often it was asked about, with this time.
    pub(crate) tries: i32,
    /// The trace it was made in.
    pub(crate) traceparent: String,
}

/// Takes the leases of at most `limit` attempts that are due, whosever they are. Replicas never get the same.
#[tracing::instrument(name = "db.attempt.claim_due", level = "debug", skip_all)]
pub(crate) async fn claim_due(
    pool: &PgPool,
    now: Timestamp,
    lease_until: Timestamp,
    limit: i64,
) -> Result<Vec<Due>, sqlx::Error> {
    let rows = sqlx::query!(
        "update attempt set lease_until = $2, tries = tries + 1
         from (
             select merchant_id, attempt_id from attempt
             where next_query_time <= $1 and (lease_until is null or lease_until <= $1)
             order by next_query_time limit $3
             for update skip locked
         ) due
         where attempt.merchant_id = due.merchant_id and attempt.attempt_id = due.attempt_id
         returning attempt.merchant_id, attempt.payment_id, attempt.attempt_id, attempt.tries,
                   attempt.traceparent",
        now.to_sqlx() as _,
        lease_until.to_sqlx() as _,
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Due {
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            payment_id: PaymentId::from_uuid(row.payment_id),
            attempt_id: AttemptId::from_uuid(row.attempt_id),
            tries: row.tries,
            traceparent: row.traceparent,
        })
        .collect())
}

/// Attempts whose outcome is not known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InDoubt {
    pub(crate) attempts: u64,
    /// When the oldest of them was made; none when there is none.
    pub(crate) since: Option<Timestamp>,
}

/// Counts the open attempts that are in doubt, whosever they are.
#[tracing::instrument(name = "db.attempt.count_in_doubt", level = "debug", skip_all)]
pub(crate) async fn in_doubt(pool: &PgPool) -> Result<InDoubt, sqlx::Error> {
    // As the index `attempt_in_doubt` has it.
    let row = sqlx::query!(
        r#"select count(*) as "attempts!", min(create_time) as since from attempt
           where next_query_time is not null and in_doubt"#
    )
    .fetch_one(pool)
    .await?;
    Ok(InDoubt { attempts: row.attempts.unsigned_abs(), since: row.since.map(jiff_sqlx::Timestamp::to_jiff) })
}

/// Selects payments with their attempts; the rest of the statement names them `p` and `a`.
macro_rules! select_payments {
    ($rest:literal, $($arg:tt)*) => {
        sqlx::query_as!(
            JoinedRow,
            "select p.merchant_id, p.payment_id, p.order_id, p.amount_minor, p.currency, p.state, p.subject,
                    p.captured_minor, p.refunded_minor, p.refund_reserved_minor, p.create_time, p.expire_time, p.pay_time,
                    a.attempt_id,
                    a.channel_account_id, a.channel, a.method, a.state as attempt_state, a.in_doubt, a.routing_reason,
                    a.qr_code, a.next_action, a.refs, a.input, a.problem, a.channel_transaction_id, a.failure_reason, a.failure_code,
                    a.create_time as attempt_create_time, a.tries, a.lease_until, a.traceparent " + $rest,
            $($arg)*
        )
    };
}

/// Returns a payment.
#[tracing::instrument(name = "db.payment.get", skip_all)]
pub(crate) async fn get(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: PaymentId,
) -> Result<Option<Payment>, sqlx::Error> {
    let rows = select_payments!(
        "from payment p join attempt a on a.merchant_id = p.merchant_id and a.payment_id = p.payment_id
         where p.merchant_id = $1 and p.payment_id = $2
         order by a.attempt_id",
        merchant_id.uuid(),
        id.uuid()
    )
    .fetch_all(pool)
    .await?;
    Ok(assemble(rows)?.pop())
}

/// Returns a payment and keeps others from changing it until the transaction ends.
#[tracing::instrument(name = "db.payment.lock", skip_all)]
pub(crate) async fn lock(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: PaymentId,
) -> Result<Option<Payment>, sqlx::Error> {
    let row = sqlx::query_as!(
        PaymentRow,
        "select merchant_id, payment_id, order_id, amount_minor, currency, state, subject, captured_minor,
                refunded_minor, refund_reserved_minor, create_time, expire_time, pay_time
         from payment where merchant_id = $1 and payment_id = $2
         for update",
        merchant_id.uuid(),
        id.uuid()
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    // A statement of its own, after the lock was had: in one with it they would be read as they were before the wait.
    let attempts = attempts(conn, merchant_id, id).await?;
    Ok(Some(row.into_payment(attempts)?))
}

async fn attempts(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    payment_id: PaymentId,
) -> Result<Vec<Attempt>, sqlx::Error> {
    let rows = sqlx::query_as!(
        AttemptRow,
        "select attempt_id, channel_account_id, channel, method, state, in_doubt, routing_reason, qr_code,
                next_action, refs, input, problem, channel_transaction_id, failure_reason, failure_code, create_time, tries, lease_until, traceparent
         from attempt where merchant_id = $1 and payment_id = $2 order by attempt_id",
        merchant_id.uuid(),
        payment_id.uuid()
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| row.try_into().map_err(Into::into)).collect()
}

/// Returns whose payment it is that a payer holds.
#[tracing::instrument(name = "db.payment.merchant_of", skip_all)]
pub(crate) async fn merchant_of(pool: &PgPool, id: PaymentId) -> Result<Option<MerchantId>, sqlx::Error> {
    let row = sqlx::query_scalar!("select merchant_id from payment where payment_id = $1", id.uuid())
        .fetch_optional(pool)
        .await?;
    Ok(row.map(MerchantId::from_uuid))
}

/// Returns the payment of an attempt at a channel account.
#[tracing::instrument(name = "db.payment.of_attempt", skip_all)]
pub(crate) async fn of_attempt(
    pool: &PgPool,
    merchant_id: MerchantId,
    account_id: ChannelAccountId,
    id: AttemptId,
) -> Result<Option<Payment>, sqlx::Error> {
    let rows = select_payments!(
        "from payment p join attempt a on a.merchant_id = p.merchant_id and a.payment_id = p.payment_id
         where p.merchant_id = $1
           and p.payment_id = (
               select payment_id from attempt
               where merchant_id = $1 and channel_account_id = $2 and attempt_id = $3
           )
         order by a.attempt_id",
        merchant_id.uuid(),
        account_id.uuid(),
        id.uuid()
    )
    .fetch_all(pool)
    .await?;
    Ok(assemble(rows)?.pop())
}

/// Returns the payment that was made under an idempotency key, and the request's fingerprint.
#[tracing::instrument(name = "db.payment.by_key", skip_all)]
pub(crate) async fn by_key(
    pool: &PgPool,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<(PaymentId, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select payment_id, fingerprint from payment where merchant_id = $1 and idempotency_key = $2",
        merchant_id.uuid(),
        key
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| (PaymentId::from_uuid(row.payment_id), row.fingerprint)))
}

/// Returns the payment that may bring an order's money.
#[tracing::instrument(name = "db.payment.active_of_order", skip_all)]
pub(crate) async fn active_of_order(
    pool: &PgPool,
    merchant_id: MerchantId,
    order_id: OrderId,
) -> Result<Option<PaymentId>, sqlx::Error> {
    let row = sqlx::query_scalar!(
        "select payment_id from payment where merchant_id = $1 and order_id = $2 and holds_order",
        merchant_id.uuid(),
        order_id.uuid()
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(PaymentId::from_uuid))
}

/// Returns at most `limit` of a merchant's payments, newest first, after the one given; of one order if given.
#[tracing::instrument(name = "db.payment.list", skip_all)]
pub(crate) async fn list(
    pool: &PgPool,
    merchant_id: MerchantId,
    order_id: Option<OrderId>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Payment>, sqlx::Error> {
    let rows = select_payments!(
        "from (
             select * from payment
             where merchant_id = $1 and ($2::uuid is null or order_id = $2) and ($3::uuid is null or payment_id < $3)
             order by payment_id desc limit $4
         ) p join attempt a on a.merchant_id = p.merchant_id and a.payment_id = p.payment_id
         order by p.payment_id desc, a.attempt_id",
        merchant_id.uuid(),
        order_id.map(OrderId::uuid),
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    Ok(assemble(rows)?)
}
