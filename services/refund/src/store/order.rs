//! What is left of an order.

use sqlx::PgConnection;
use tael_ids::LineId;
use tael_money::Money;

use super::{money, stored_units, units};
use crate::domain::{LineBalance, PaidOrder};

/// Locks an order for its refunds, noting it when it is the first one, and returns what is left to refund.
#[tracing::instrument(name = "db.refund_order.lock", skip_all)]
pub(crate) async fn lock(conn: &mut PgConnection, order: &PaidOrder) -> Result<Money, sqlx::Error> {
    // The update changes nothing; it is what takes the lock when the row is there already.
    let row = sqlx::query!(
        r#"insert into refund_order as o (merchant_id, order_id, payment_id, currency, total_minor)
           values ($1, $2, $3, $4, $5)
           on conflict (merchant_id, order_id) do update set order_id = excluded.order_id
           returning o.currency, o.total_minor - o.reserved_minor - o.refunded_minor as "left_minor!""#,
        order.merchant_id.uuid(),
        order.order_id.uuid(),
        order.payment_id.uuid(),
        order.total.currency().code(),
        order.total.minor(),
    )
    .fetch_one(conn)
    .await?;
    Ok(money(row.left_minor, &row.currency, "refund_order", &order.order_id)?)
}

/// Returns what is left of an order's lines, noting them when they are first asked for. The order must be locked.
#[tracing::instrument(name = "db.refund_order.lines", skip_all)]
pub(crate) async fn lines(
    conn: &mut PgConnection,
    order: &PaidOrder,
) -> Result<Vec<LineBalance>, sqlx::Error> {
    let ids: Vec<_> = order.lines.iter().map(|l| l.line_id.uuid()).collect();
    let quantities: Vec<i32> = order.lines.iter().map(|l| stored_units(l.quantity)).collect();
    let totals: Vec<i64> = order.lines.iter().map(|l| l.total.minor()).collect();
    let rows = sqlx::query!(
        r#"insert into refund_order_line as l (merchant_id, order_id, line_id, quantity, total_minor)
           select $1, $2, * from unnest($3::uuid[], $4::integer[], $5::bigint[])
           on conflict (merchant_id, order_id, line_id) do update set line_id = excluded.line_id
           returning l.line_id, l.quantity, l.total_minor, l.taken, l.taken_minor"#,
        order.merchant_id.uuid(),
        order.order_id.uuid(),
        &ids,
        &quantities,
        &totals,
    )
    .fetch_all(conn)
    .await?;
    let currency = order.total.currency();
    Ok(rows
        .into_iter()
        .map(|row| LineBalance {
            line_id: LineId::from_uuid(row.line_id),
            quantity: units(row.quantity),
            total: Money::new(row.total_minor, currency),
            taken: units(row.taken),
            taken_amount: Money::new(row.taken_minor, currency),
        })
        .collect())
}
