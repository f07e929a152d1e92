//! Rows for the money audit, as they stand.

use sqlx::PgPool;
use tael_facts::{FactRow, Range, money, time};
use tael_ids::{OrderId, PaymentId, RefundId};
use tael_proto::audit::v1::fact::Fact;
use tael_proto::audit::v1::{RefundCeilingFact, RefundFact};

#[tracing::instrument(name = "db.fact.refunds", skip_all)]
pub(crate) async fn refunds(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        "select merchant_id, refund_id, order_id, payment_id, currency, amount_minor, state, create_time, end_time
         from refund where (merchant_id, refund_id) > ($1, $2) and merchant_id <= $3
         order by merchant_id, refund_id limit $4",
        range.after_merchant,
        range.after_id,
        range.last_merchant,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let fact = RefundFact {
            refund_id: RefundId::from_uuid(row.refund_id).to_string(),
            order_id: OrderId::from_uuid(row.order_id).to_string(),
            payment_id: PaymentId::from_uuid(row.payment_id).to_string(),
            amount: money(row.amount_minor, &row.currency),
            state: row.state,
            create_time: time(row.create_time),
            end_time: row.end_time.and_then(time),
        };
        FactRow { merchant_id: row.merchant_id, id: row.refund_id, fact: Fact::Refund(fact) }
    });
    Ok(found.collect())
}

#[tracing::instrument(name = "db.fact.ceilings", skip_all)]
pub(crate) async fn ceilings(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        "select merchant_id, order_id, payment_id, currency, total_minor, reserved_minor, refunded_minor
         from refund_order where (merchant_id, order_id) > ($1, $2) and merchant_id <= $3
         order by merchant_id, order_id limit $4",
        range.after_merchant,
        range.after_id,
        range.last_merchant,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let fact = RefundCeilingFact {
            order_id: OrderId::from_uuid(row.order_id).to_string(),
            payment_id: PaymentId::from_uuid(row.payment_id).to_string(),
            total: money(row.total_minor, &row.currency),
            reserved: money(row.reserved_minor, &row.currency),
            refunded: money(row.refunded_minor, &row.currency),
        };
        FactRow { merchant_id: row.merchant_id, id: row.order_id, fact: Fact::RefundCeiling(fact) }
    });
    Ok(found.collect())
}
