//! Unapplied payments. Their rows are read to be changed, and changed, only under the lock of their order.
//!
//! Their table is called `held_payment`, as it was named first: another name would need a moment in which builds before
//! and after it can't both work.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_ids::{MerchantId, OrderId, PaymentId, RefundId};
use tael_money::Money;
use uuid::Uuid;

use super::{currency, expect_rows, inconsistent};
use crate::domain::order::UnappliedReason;
use crate::domain::unapplied_payment::{DueRefund, Key, RefusedRefund, State, UnappliedPayment};

/// An unapplied payment that is to be stored or changed.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) merchant_id: MerchantId,
    pub(crate) payment: UnappliedPayment,
    /// Who decided; none when the policy or a channel did.
    pub(crate) operator: Option<String>,
    /// The trace in which that was.
    pub(crate) traceparent: Option<String>,
}

struct UnappliedPaymentRow {
    merchant_id: Uuid,
    order_id: Uuid,
    payment_id: Uuid,
    currency: String,
    amount_minor: i64,
    pay_time: Option<jiff_sqlx::Timestamp>,
    hold_time: jiff_sqlx::Timestamp,
    reason: String,
    state: String,
    refund_id: Option<Uuid>,
    refund_failure: Option<String>,
    release_time: Option<jiff_sqlx::Timestamp>,
}

/// Reads whole rows; the columns are listed here and nowhere else.
macro_rules! select {
    ($rest:literal, $($arguments:tt)*) => {
        sqlx::query_as!(
            UnappliedPaymentRow,
            "select merchant_id, order_id, payment_id, currency, amount_minor, pay_time, hold_time, reason, state,
                    refund_id, refund_failure, release_time
             from held_payment " + $rest,
            $($arguments)*
        )
    };
}

impl TryFrom<UnappliedPaymentRow> for UnappliedPayment {
    type Error = sqlx::Error;

    fn try_from(row: UnappliedPaymentRow) -> Result<Self, sqlx::Error> {
        let payment_id = PaymentId::from_uuid(row.payment_id);
        let refund_id = row.refund_id.map(RefundId::from_uuid);
        let release_time = row.release_time.map(jiff_sqlx::Timestamp::to_jiff);
        let state = match (row.state.as_str(), refund_id, row.refund_failure, release_time) {
            ("held", None, None, None) => State::Held { refused: None },
            ("held", Some(refund_id), Some(reason), None) => {
                State::Held { refused: Some(RefusedRefund { refund_id, reason }) }
            }
            ("refunding", Some(refund_id), None, None) => State::Refunding { refund_id },
            ("refunded", Some(refund_id), None, Some(at)) => State::Refunded { refund_id, at },
            ("accepted", None, None, Some(at)) => State::Accepted { at },
            (other, ..) => {
                let problem = format!("{other:?} does not go with the refund and the time");
                return Err(inconsistent("held_payment", "state", payment_id, problem));
            }
        };
        let currency = currency("held_payment", payment_id, &row.currency)?;
        let hold_time = row.hold_time.to_jiff();
        Ok(Self {
            order_id: OrderId::from_uuid(row.order_id),
            payment_id,
            amount: Money::new(row.amount_minor, currency),
            pay_time: row.pay_time.map_or(hold_time, jiff_sqlx::Timestamp::to_jiff),
            hold_time,
            reason: match row.reason.as_str() {
                "closed_order" => UnappliedReason::ClosedOrder,
                "already_paid" => UnappliedReason::AlreadyPaid,
                "amount" => UnappliedReason::Amount,
                other => {
                    return Err(inconsistent("held_payment", "reason", payment_id, format!("{other:?}")));
                }
            },
            state,
        })
    }
}

/// Returns which of these payments have been unapplied, whatever became of them.
#[tracing::instrument(name = "db.unapplied_payment.known", skip_all)]
pub(crate) async fn known(conn: &mut PgConnection, keys: &[Key]) -> Result<HashSet<Key>, sqlx::Error> {
    let (merchants, orders, payments) = key_columns(keys);
    let rows = sqlx::query!(
        "select merchant_id, order_id, payment_id from held_payment
         where (merchant_id, order_id, payment_id) in (select * from unnest($1::uuid[], $2::uuid[], $3::uuid[]))",
        &merchants,
        &orders,
        &payments,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| key(row.merchant_id, row.order_id, row.payment_id)).collect())
}

/// Returns the unapplied payments with these keys; there is none of unknown ones.
#[tracing::instrument(name = "db.unapplied_payment.load", skip_all)]
pub(crate) async fn load(
    conn: &mut PgConnection,
    keys: &[Key],
) -> Result<HashMap<Key, UnappliedPayment>, sqlx::Error> {
    let (merchants, orders, payments) = key_columns(keys);
    let rows = select!(
        "where (merchant_id, order_id, payment_id) in (select * from unnest($1::uuid[], $2::uuid[], $3::uuid[]))",
        &merchants,
        &orders,
        &payments,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((key(row.merchant_id, row.order_id, row.payment_id), row.try_into()?)))
        .collect()
}

/// Returns which unapplied payments these refunds are of. Refunds of anything else are left out.
#[tracing::instrument(name = "db.unapplied_payment.by_refund", skip_all)]
pub(crate) async fn by_refund(
    conn: &mut PgConnection,
    refunds: &[(MerchantId, RefundId)],
) -> Result<HashMap<(MerchantId, RefundId), Key>, sqlx::Error> {
    let (merchants, ids): (Vec<Uuid>, Vec<Uuid>) =
        refunds.iter().map(|(merchant, refund)| (merchant.uuid(), refund.uuid())).unzip();
    let rows = sqlx::query!(
        r#"select merchant_id, order_id, payment_id, refund_id as "refund_id!" from held_payment
           where (merchant_id, refund_id) in (select * from unnest($1::uuid[], $2::uuid[]))
           and refund_id is not null"#,
        &merchants,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let key = key(row.merchant_id, row.order_id, row.payment_id);
            ((key.0, RefundId::from_uuid(row.refund_id)), key)
        })
        .collect())
}

/// Returns the unapplied payments of a merchant's orders, in the order of the payments.
#[tracing::instrument(name = "db.unapplied_payment.of_orders", skip_all)]
pub(crate) async fn of_orders(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    order_ids: &[Uuid],
) -> Result<Vec<UnappliedPayment>, sqlx::Error> {
    let rows = select!(
        "where merchant_id = $1 and order_id = any($2) order by order_id, payment_id",
        merchant_id.uuid(),
        order_ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(UnappliedPayment::try_from).collect()
}

/// Returns at most `limit` payments that are held or on their way back, newest first, after the one given.
#[tracing::instrument(name = "db.unapplied_payment.list", skip_all)]
pub(crate) async fn list(
    pool: &PgPool,
    merchant_id: MerchantId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<UnappliedPayment>, sqlx::Error> {
    let rows = select!(
        "where merchant_id = $1 and payment_id < $2 and state in ('held', 'refunding')
         order by payment_id desc limit $3",
        merchant_id.uuid(),
        after.unwrap_or(Uuid::max()),
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(UnappliedPayment::try_from).collect()
}

/// Stores payments that were not unapplied before.
#[tracing::instrument(name = "db.unapplied_payment.insert", skip_all)]
pub(crate) async fn insert(conn: &mut PgConnection, changes: &[Change]) -> Result<(), sqlx::Error> {
    let currencies: Vec<String> =
        changes.iter().map(|c| c.payment.amount.currency().code().to_owned()).collect();
    let amounts: Vec<i64> = changes.iter().map(|c| c.payment.amount.minor()).collect();
    let pay_times: Vec<jiff_sqlx::Timestamp> = changes.iter().map(|c| c.payment.pay_time.to_sqlx()).collect();
    let hold_times: Vec<jiff_sqlx::Timestamp> =
        changes.iter().map(|c| c.payment.hold_time.to_sqlx()).collect();
    let reasons: Vec<String> = changes.iter().map(|c| c.payment.reason.name().to_owned()).collect();
    let columns = Columns::of(changes);
    sqlx::query!(
        "insert into held_payment (merchant_id, order_id, payment_id, currency, amount_minor, pay_time, hold_time,
                                   reason, state, refund_id, release_time, traceparent, next_try_time)
         select h.*, case when h.state = 'refunding' then h.hold_time end
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::timestamptz[],
                     $7::timestamptz[], $8::text[], $9::text[], $10::uuid[], $11::timestamptz[], $12::text[])
              as h (merchant_id, order_id, payment_id, currency, amount_minor, pay_time, hold_time, reason, state,
                    refund_id, release_time, traceparent)",
        &columns.merchants,
        &columns.orders,
        &columns.payments,
        &currencies,
        &amounts,
        &pay_times as _,
        &hold_times as _,
        &reasons,
        &columns.states,
        &columns.refunds as _,
        &columns.release_times as _,
        &columns.traceparents,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes unapplied payments that were in the states `from`, in the order of `changes`. What is on its way back from now on may be
/// asked for at once.
#[tracing::instrument(name = "db.unapplied_payment.update", skip_all)]
pub(crate) async fn update(
    conn: &mut PgConnection,
    from: &[&'static str],
    changes: &[Change],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let columns = Columns::of(changes);
    let from: Vec<String> = from.iter().map(|&state| state.to_owned()).collect();
    let failures: Vec<Option<String>> = changes
        .iter()
        .map(|c| match &c.payment.state {
            State::Held { refused: Some(refused) } => Some(refused.reason.clone()),
            State::Held { refused: None }
            | State::Refunding { .. }
            | State::Refunded { .. }
            | State::Accepted { .. } => None,
        })
        .collect();
    let operators: Vec<Option<String>> = changes.iter().map(|c| c.operator.clone()).collect();
    let updated = sqlx::query!(
        "update held_payment h
         set state = n.state, refund_id = n.refund_id, refund_failure = n.refund_failure,
             release_time = n.release_time, operator = coalesce(n.operator, h.operator), tries = 0,
             next_try_time = case when n.state = 'refunding' then $11::timestamptz end,
             traceparent = case when n.state = 'refunding' then n.traceparent else h.traceparent end
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::text[],
                     $8::timestamptz[], $9::text[], $10::text[])
              as n (merchant_id, order_id, payment_id, from_state, state, refund_id, refund_failure, release_time,
                    operator, traceparent)
         where h.merchant_id = n.merchant_id and h.order_id = n.order_id and h.payment_id = n.payment_id
         and h.state = n.from_state",
        &columns.merchants,
        &columns.orders,
        &columns.payments,
        &from,
        &columns.states,
        &columns.refunds as _,
        &failures as _,
        &columns.release_times as _,
        &operators as _,
        &columns.traceparents,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    expect_rows("held_payment", changes.len(), updated.rows_affected())
}

/// Takes at most `limit` refunds whose time to be asked for has come and that no other worker has, and keeps other
/// workers from them until `lease_end`.
#[tracing::instrument(level = "debug", name = "db.unapplied_payment.claim_due", skip_all)]
pub(crate) async fn claim_due(
    pool: &PgPool,
    now: Timestamp,
    lease_end: Timestamp,
    limit: i64,
) -> Result<Vec<DueRefund>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with due as (
               select merchant_id, order_id, payment_id from held_payment
               where state = 'refunding' and next_try_time <= $1
               order by next_try_time limit $3 for no key update skip locked
           )
           update held_payment h set next_try_time = $2 from due
           where h.merchant_id = due.merchant_id and h.order_id = due.order_id and h.payment_id = due.payment_id
           returning h.merchant_id, h.order_id, h.payment_id, h.refund_id as "refund_id!", h.currency, h.amount_minor,
                     h.tries, h.traceparent"#,
        now.to_sqlx() as _,
        lease_end.to_sqlx() as _,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter()
        .map(|row| {
            let key = key(row.merchant_id, row.order_id, row.payment_id);
            Ok(DueRefund {
                key,
                refund_id: RefundId::from_uuid(row.refund_id),
                amount: Money::new(row.amount_minor, currency("held_payment", key.2, &row.currency)?),
                tries: super::count("held_payment", "tries", key.2, row.tries)?,
                traceparent: row.traceparent,
            })
        })
        .collect()
}

/// Notes that a call gave no final answer and when to call again, if the refund is still on its way.
#[tracing::instrument(name = "db.unapplied_payment.note_unclear", skip_all)]
pub(crate) async fn note_unclear(
    pool: &PgPool,
    refund: &DueRefund,
    next_try_time: Timestamp,
) -> Result<(), sqlx::Error> {
    let (merchant_id, order_id, payment_id) = refund.key;
    sqlx::query!(
        "update held_payment set tries = tries + 1, next_try_time = $5
         where merchant_id = $1 and order_id = $2 and payment_id = $3 and refund_id = $4 and state = 'refunding'",
        merchant_id.uuid(),
        order_id.uuid(),
        payment_id.uuid(),
        refund.refund_id.uuid(),
        next_try_time.to_sqlx() as _,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// The columns that an insert and an update have in common.
struct Columns {
    merchants: Vec<Uuid>,
    orders: Vec<Uuid>,
    payments: Vec<Uuid>,
    states: Vec<String>,
    refunds: Vec<Option<Uuid>>,
    release_times: Vec<Option<jiff_sqlx::Timestamp>>,
    traceparents: Vec<String>,
}

impl Columns {
    fn of(changes: &[Change]) -> Self {
        let (refunds, release_times) = changes
            .iter()
            .map(|c| match &c.payment.state {
                State::Held { refused } => (refused.as_ref().map(|refused| refused.refund_id.uuid()), None),
                State::Refunding { refund_id } => (Some(refund_id.uuid()), None),
                State::Refunded { refund_id, at } => (Some(refund_id.uuid()), Some(at.to_sqlx())),
                State::Accepted { at } => (None, Some(at.to_sqlx())),
            })
            .unzip();
        Self {
            merchants: changes.iter().map(|c| c.merchant_id.uuid()).collect(),
            orders: changes.iter().map(|c| c.payment.order_id.uuid()).collect(),
            payments: changes.iter().map(|c| c.payment.payment_id.uuid()).collect(),
            states: changes.iter().map(|c| c.payment.state.name().to_owned()).collect(),
            refunds,
            release_times,
            traceparents: changes.iter().map(|c| c.traceparent.clone().unwrap_or_default()).collect(),
        }
    }
}

fn key(merchant_id: Uuid, order_id: Uuid, payment_id: Uuid) -> Key {
    (MerchantId::from_uuid(merchant_id), OrderId::from_uuid(order_id), PaymentId::from_uuid(payment_id))
}

fn key_columns(keys: &[Key]) -> (Vec<Uuid>, Vec<Uuid>, Vec<Uuid>) {
    keys.iter().map(|(merchant, order, payment)| (merchant.uuid(), order.uuid(), payment.uuid())).collect()
}
