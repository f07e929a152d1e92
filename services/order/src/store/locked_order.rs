//! Orders that a batch of other services' events locks and changes.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tael_ids::{LineId, MerchantId, OrderId, PaymentId, RefundId};
use tael_money::Money;
use uuid::Uuid;

use super::{columns, count, currency, expect_rows, order};
use crate::domain::order_balance::OrderBalance;

/// A payment that is applied to its order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppliedPayment {
    /// The name of the state that it was in.
    pub(crate) from: &'static str,
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    pub(crate) payment_id: PaymentId,
    pub(crate) at: Timestamp,
}

/// A line whose buyer gets a voucher.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VoucherLine {
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    pub(crate) line_id: LineId,
    pub(crate) quantity: u32,
}

/// A refund to be counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CountedRefund {
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    pub(crate) refund_id: RefundId,
    pub(crate) amount: Money,
}

/// Locks these orders, which keeps others from changing them until the transaction ends, and returns where they stand. Locked in the
/// order of their keys, so that two batches can't wait for one another. Unknown orders are left out.
#[tracing::instrument(name = "db.order.lock", skip_all)]
pub(crate) async fn lock(
    conn: &mut PgConnection,
    orders: &[(MerchantId, OrderId)],
) -> Result<Vec<OrderBalance>, sqlx::Error> {
    let (merchants, ids) = columns(orders);
    let rows = sqlx::query!(
        "select merchant_id, order_id, state, currency, total_minor, refunded_minor, payment_id, pay_time from orders
         where (merchant_id, order_id) in (select * from unnest($1::uuid[], $2::uuid[]))
         order by merchant_id, order_id for no key update",
        &merchants,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let order_id = OrderId::from_uuid(row.order_id);
            let currency = currency("orders", order_id, &row.currency)?;
            let pay_time = row.pay_time.map(jiff_sqlx::Timestamp::to_jiff);
            Ok(OrderBalance {
                merchant_id: MerchantId::from_uuid(row.merchant_id),
                order_id,
                state: order::state(order_id, &row.state, row.payment_id, pay_time)?,
                total: Money::new(row.total_minor, currency),
                refunded: Money::new(row.refunded_minor, currency),
            })
        })
        .collect()
}

/// Marks orders as paid that are locked and in the states given.
#[tracing::instrument(name = "db.order.pay", skip_all)]
pub(crate) async fn pay(conn: &mut PgConnection, paid: &[AppliedPayment]) -> Result<(), sqlx::Error> {
    let merchants: Vec<Uuid> = paid.iter().map(|p| p.merchant_id.uuid()).collect();
    let ids: Vec<Uuid> = paid.iter().map(|p| p.order_id.uuid()).collect();
    let payments: Vec<Uuid> = paid.iter().map(|p| p.payment_id.uuid()).collect();
    let times: Vec<jiff_sqlx::Timestamp> = paid.iter().map(|p| p.at.to_sqlx()).collect();
    let from: Vec<String> = paid.iter().map(|p| p.from.to_owned()).collect();
    let updated = sqlx::query!(
        "update orders o set state = 'paid', payment_id = p.payment_id, pay_time = p.pay_time
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[])
              as p (merchant_id, order_id, payment_id, pay_time, from_state)
         where o.merchant_id = p.merchant_id and o.order_id = p.order_id and o.state = p.from_state",
        &merchants,
        &ids,
        &payments,
        &times as _,
        &from,
    )
    .execute(conn)
    .await?;
    expect_rows("orders", paid.len(), updated.rows_affected())
}

/// Returns the lines of these orders whose buyers get a voucher.
#[tracing::instrument(name = "db.order_line.vouchers", skip_all)]
pub(crate) async fn voucher_lines(
    conn: &mut PgConnection,
    orders: &[(MerchantId, OrderId)],
) -> Result<Vec<VoucherLine>, sqlx::Error> {
    let (merchants, ids) = columns(orders);
    let rows = sqlx::query!(
        "select merchant_id, order_id, line_id, quantity from order_line
         where (merchant_id, order_id) in (select * from unnest($1::uuid[], $2::uuid[])) and fulfilment = 'voucher'
         order by merchant_id, order_id, line_id",
        &merchants,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let line_id = LineId::from_uuid(row.line_id);
            Ok(VoucherLine {
                merchant_id: MerchantId::from_uuid(row.merchant_id),
                order_id: OrderId::from_uuid(row.order_id),
                line_id,
                quantity: count("order_line", "quantity", line_id, row.quantity)?,
            })
        })
        .collect()
}

/// Remembers refunds, and returns those that were not counted before.
#[tracing::instrument(name = "db.order_refund.insert", skip_all)]
pub(crate) async fn remember_refunds(
    conn: &mut PgConnection,
    refunds: &[CountedRefund],
    now: Timestamp,
) -> Result<Vec<(MerchantId, RefundId)>, sqlx::Error> {
    let merchants: Vec<Uuid> = refunds.iter().map(|r| r.merchant_id.uuid()).collect();
    let ids: Vec<Uuid> = refunds.iter().map(|r| r.refund_id.uuid()).collect();
    let orders: Vec<Uuid> = refunds.iter().map(|r| r.order_id.uuid()).collect();
    let amounts: Vec<i64> = refunds.iter().map(|r| r.amount.minor()).collect();
    let rows = sqlx::query!(
        "insert into order_refund (merchant_id, refund_id, order_id, amount_minor, apply_time)
         select r.*, $5 from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[]) as r
         on conflict (merchant_id, refund_id) do nothing
         returning merchant_id, refund_id",
        &merchants,
        &ids,
        &orders,
        &amounts,
        now.to_sqlx() as _,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (MerchantId::from_uuid(row.merchant_id), RefundId::from_uuid(row.refund_id)))
        .collect())
}

/// Writes the refunded sums of orders that are locked and paid.
#[tracing::instrument(name = "db.order.refund", skip_all)]
pub(crate) async fn refund(conn: &mut PgConnection, orders: &[OrderBalance]) -> Result<(), sqlx::Error> {
    let merchants: Vec<Uuid> = orders.iter().map(|o| o.merchant_id.uuid()).collect();
    let ids: Vec<Uuid> = orders.iter().map(|o| o.order_id.uuid()).collect();
    let sums: Vec<i64> = orders.iter().map(|o| o.refunded.minor()).collect();
    let updated = sqlx::query!(
        "update orders o set refunded_minor = r.refunded_minor
         from unnest($1::uuid[], $2::uuid[], $3::bigint[]) as r (merchant_id, order_id, refunded_minor)
         where o.merchant_id = r.merchant_id and o.order_id = r.order_id and o.state = 'paid'
         and o.refunded_minor < r.refunded_minor",
        &merchants,
        &ids,
        &sums,
    )
    .execute(conn)
    .await?;
    expect_rows("orders", orders.len(), updated.rows_affected())
}
