//! Rows for the money audit, as they stand.

use sqlx::PgPool;
use tael_facts::{FactRow, Range, money, time};
use tael_ids::{OrderId, PaymentId, RefundId};
use tael_proto::audit::v1::fact::Fact;
use tael_proto::audit::v1::{CountedRefundFact, HeldPaymentFact, OrderFact};

#[tracing::instrument(name = "db.fact.orders", skip_all)]
pub(crate) async fn orders(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        "select merchant_id, order_id, state, currency, total_minor, refunded_minor, payment_id, pay_time
         from orders where (merchant_id, order_id) > ($1, $2) and merchant_id <= $3
         order by merchant_id, order_id limit $4",
        range.after_merchant,
        range.after_id,
        range.last_merchant,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let fact = OrderFact {
            order_id: OrderId::from_uuid(row.order_id).to_string(),
            state: row.state,
            total: money(row.total_minor, &row.currency),
            refunded: money(row.refunded_minor, &row.currency),
            payment_id: row.payment_id.map(|id| PaymentId::from_uuid(id).to_string()).unwrap_or_default(),
            pay_time: row.pay_time.and_then(time),
        };
        FactRow { merchant_id: row.merchant_id, id: row.order_id, fact: Fact::Order(fact) }
    });
    Ok(found.collect())
}

/// In the order of payments, each of which is held for one order.
#[tracing::instrument(name = "db.fact.held_payments", skip_all)]
pub(crate) async fn held_payments(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        "select merchant_id, order_id, payment_id, currency, amount_minor, hold_time, state, refund_id
         from held_payment where (merchant_id, payment_id) > ($1, $2) and merchant_id <= $3
         order by merchant_id, payment_id limit $4",
        range.after_merchant,
        range.after_id,
        range.last_merchant,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let fact = HeldPaymentFact {
            order_id: OrderId::from_uuid(row.order_id).to_string(),
            payment_id: PaymentId::from_uuid(row.payment_id).to_string(),
            amount: money(row.amount_minor, &row.currency),
            state: row.state,
            refund_id: row.refund_id.map(|id| RefundId::from_uuid(id).to_string()).unwrap_or_default(),
            hold_time: time(row.hold_time),
        };
        FactRow { merchant_id: row.merchant_id, id: row.payment_id, fact: Fact::HeldPayment(fact) }
    });
    Ok(found.collect())
}

#[tracing::instrument(name = "db.fact.counted_refunds", skip_all)]
pub(crate) async fn counted_refunds(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        "select r.merchant_id, r.refund_id, r.order_id, r.amount_minor, r.apply_time, o.currency
         from order_refund r join orders o using (merchant_id, order_id)
         where (r.merchant_id, r.refund_id) > ($1, $2) and r.merchant_id <= $3
         order by r.merchant_id, r.refund_id limit $4",
        range.after_merchant,
        range.after_id,
        range.last_merchant,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let fact = CountedRefundFact {
            order_id: OrderId::from_uuid(row.order_id).to_string(),
            refund_id: RefundId::from_uuid(row.refund_id).to_string(),
            amount: money(row.amount_minor, &row.currency),
            count_time: time(row.apply_time),
        };
        FactRow { merchant_id: row.merchant_id, id: row.refund_id, fact: Fact::CountedRefund(fact) }
    });
    Ok(found.collect())
}
