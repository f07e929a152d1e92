//! Orders with their lines, vouchers and unapplied payments.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tael_idempotency::IdempotencyKey;
use tael_ids::{LineId, MerchantId, OrderId, PaymentId, PromotionId};
use tael_money::Money;
use tael_sealed::Keyring;
use uuid::Uuid;

use super::{columns, count, currency, expect_rows, inconsistent, rest, unapplied_payment, voucher};
use crate::contact;
use crate::domain::details::OrderDetails;
use crate::domain::order::{Contact, Fulfilment, Line, Order, State};
use crate::domain::price::{Item, LinePrice, Price};

/// Inserts an order unless its idempotency key or its number was used; says whether it did. The lines are inserted apart.
#[tracing::instrument(name = "db.order.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    keyring: &Keyring,
    order: &Order,
    contact: Option<&Contact>,
    key: &IdempotencyKey,
) -> Result<bool, sqlx::Error> {
    let contact = contact.map(|contact| contact::seal(keyring, order.id, contact));
    let pay_time = match order.state {
        State::Paid { at, .. } => Some(at.to_sqlx()),
        State::PendingPayment | State::Cancelled | State::Expired => None,
    };
    // The index holds off what is made at the same moment; the number of an order that is older than the index, or was
    // made by a build before it, is looked for.
    let inserted = sqlx::query!(
        "insert into orders (merchant_id, order_id, merchant_reference, reference_is_unique, state, currency,
                             items_minor, discount_minor, shipping_minor, total_minor, promotion_id, contact, pay_time,
                             create_time, expire_time, next_expiry_try, idempotency_key, fingerprint)
         select $1, $2, $3, $3 <> '', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14, $15, $16
         where $3 = '' or not exists (select from orders where merchant_id = $1 and merchant_reference = $3)
         on conflict do nothing",
        order.merchant_id.uuid(),
        order.id.uuid(),
        order.merchant_reference,
        order.state.name(),
        order.price.total.currency().code(),
        order.price.items.minor(),
        order.price.discount.minor(),
        order.price.shipping.minor(),
        order.price.total.minor(),
        order.price.promotion_id.map(PromotionId::uuid),
        contact,
        pay_time as _,
        order.create_time.to_sqlx() as _,
        order.expire_time.to_sqlx() as _,
        key.key,
        key.fingerprint,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns a merchant's first order with this number, and the fingerprint of the request that made it.
#[tracing::instrument(name = "db.order.id_by_reference", skip_all)]
pub(crate) async fn id_by_reference(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    reference: &str,
) -> Result<Option<(OrderId, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select order_id, fingerprint from orders where merchant_id = $1 and merchant_reference = $2 and $2 <> ''
         order by order_id limit 1",
        merchant_id.uuid(),
        reference,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (OrderId::from_uuid(row.order_id), row.fingerprint)))
}

/// Inserts the lines of an order that was just inserted.
#[tracing::instrument(name = "db.order_line.insert", skip_all)]
pub(crate) async fn insert_lines(conn: &mut PgConnection, order: &Order) -> Result<(), sqlx::Error> {
    let lines = &order.lines;
    let ids: Vec<Uuid> = lines.iter().map(|l| l.id.uuid()).collect();
    let skus: Vec<String> = lines.iter().map(|l| l.sku.clone()).collect();
    let names: Vec<String> = lines.iter().map(|l| l.name.clone()).collect();
    let quantities: Vec<i32> = lines.iter().map(|l| l.item.quantity.cast_signed()).collect();
    let unit_prices: Vec<i64> = lines.iter().map(|l| l.item.unit_price.minor()).collect();
    let subtotals: Vec<i64> = lines.iter().map(|l| l.price.subtotal.minor()).collect();
    let discounts: Vec<i64> = lines.iter().map(|l| l.price.discount.minor()).collect();
    let fulfilments: Vec<String> = lines.iter().map(|l| l.fulfilment.name().to_owned()).collect();
    sqlx::query!(
        "insert into order_line (merchant_id, order_id, line_id, sku, name, quantity, unit_price_minor,
                                 subtotal_minor, discount_minor, fulfilment)
         select $1, $2, l.* from unnest($3::uuid[], $4::text[], $5::text[], $6::int[], $7::bigint[], $8::bigint[],
                                        $9::bigint[], $10::text[]) as l",
        order.merchant_id.uuid(),
        order.id.uuid(),
        &ids,
        &skus,
        &names,
        &quantities,
        &unit_prices,
        &subtotals,
        &discounts,
        &fulfilments,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns the order that was made under an idempotency key, and that request's fingerprint.
#[tracing::instrument(name = "db.order.id_by_key", skip_all)]
pub(crate) async fn id_by_key(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<(OrderId, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select order_id, fingerprint from orders where merchant_id = $1 and idempotency_key = $2",
        merchant_id.uuid(),
        key,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (OrderId::from_uuid(row.order_id), row.fingerprint)))
}

/// Returns the ids of at most `limit` orders, newest first, after the one given.
#[tracing::instrument(name = "db.order.ids", skip_all)]
pub(crate) async fn ids(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select order_id from orders where merchant_id = $1 and order_id < $2 order by order_id desc limit $3",
        merchant_id.uuid(),
        after.unwrap_or(Uuid::max()),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// As [`ids`], of the orders in one state. A statement of its own, so that each has the index that fits it.
#[tracing::instrument(name = "db.order.ids_in_state", skip_all)]
pub(crate) async fn ids_in_state(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    state: &str,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select order_id from orders
         where merchant_id = $1 and state = $2 and order_id < $3 order by order_id desc limit $4",
        merchant_id.uuid(),
        state,
        after.unwrap_or(Uuid::max()),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// As [`ids`], of the orders with one number of the merchant's, in one state or in all.
#[tracing::instrument(name = "db.order.ids_by_reference", skip_all)]
pub(crate) async fn ids_by_reference(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    reference: &str,
    state: Option<&str>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "select order_id from orders
         where merchant_id = $1 and merchant_reference = $2 and $2 <> '' and order_id < $3
         and ($4::text is null or state = $4)
         order by order_id desc limit $5",
        merchant_id.uuid(),
        reference,
        after.unwrap_or(Uuid::max()),
        state,
        limit,
    )
    .fetch_all(conn)
    .await
}

struct OrderRow {
    order_id: Uuid,
    merchant_reference: String,
    state: String,
    currency: String,
    items_minor: i64,
    discount_minor: i64,
    shipping_minor: i64,
    total_minor: i64,
    promotion_id: Option<Uuid>,
    payment_id: Option<Uuid>,
    pay_time: Option<jiff_sqlx::Timestamp>,
    refunded_minor: i64,
    create_time: jiff_sqlx::Timestamp,
    expire_time: jiff_sqlx::Timestamp,
    has_unapplied: bool,
}

/// Returns the orders with these ids, newest first, each with all that belongs to it. The number of statements does
/// not depend on the number of orders; two do for orders that wait for their payment.
#[tracing::instrument(name = "db.order.load", skip_all)]
pub(crate) async fn load(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    ids: &[Uuid],
) -> Result<Vec<OrderDetails>, sqlx::Error> {
    let rows = sqlx::query_as!(
        OrderRow,
        r#"select order_id, merchant_reference, state, currency, items_minor, discount_minor, shipping_minor,
                  total_minor, promotion_id, payment_id, pay_time, refunded_minor, create_time, expire_time,
                  exists (select from held_payment h
                          where h.merchant_id = o.merchant_id and h.order_id = o.order_id) as "has_unapplied!"
           from orders o where merchant_id = $1 and order_id = any($2) order by order_id desc"#,
        merchant_id.uuid(),
        ids,
    )
    .fetch_all(&mut *conn)
    .await?;

    // Each statement sees a moment of its own. That is harmless: lines never change, vouchers come in the
    // transaction that pays their order, and what was unapplied stays listed; that an order took it may be seen a
    // moment before the order is seen to be paid.
    let has_unapplied = rows.iter().any(|row| row.has_unapplied);
    let mut orders = Vec::with_capacity(rows.len());
    let mut at = HashMap::with_capacity(rows.len());
    for row in rows {
        at.insert(row.order_id, orders.len());
        orders.push(OrderDetails::from(order(merchant_id, row)?));
    }
    if orders.is_empty() {
        return Ok(orders);
    }
    load_lines(conn, merchant_id, ids, &mut orders, &at).await?;
    if orders.iter().any(|details| matches!(details.order.state, State::Paid { .. })) {
        for voucher in voucher::of_orders(conn, merchant_id, ids).await? {
            if let Some(&at) = at.get(&voucher.order_id.uuid()) {
                orders[at].vouchers.push(voucher);
            }
        }
    }
    if has_unapplied {
        for payment in unapplied_payment::of_orders(conn, merchant_id, ids).await? {
            if let Some(&at) = at.get(&payment.order_id.uuid()) {
                orders[at].unapplied_payments.push(payment);
            }
        }
    }
    Ok(orders)
}

fn order(merchant_id: MerchantId, row: OrderRow) -> Result<Order, sqlx::Error> {
    let id = OrderId::from_uuid(row.order_id);
    let currency = currency("orders", id, &row.currency)?;
    Ok(Order {
        id,
        merchant_id,
        merchant_reference: row.merchant_reference,
        state: state(id, &row.state, row.payment_id, row.pay_time.map(jiff_sqlx::Timestamp::to_jiff))?,
        lines: Vec::new(),
        price: Price {
            items: Money::new(row.items_minor, currency),
            discount: Money::new(row.discount_minor, currency),
            shipping: Money::new(row.shipping_minor, currency),
            total: Money::new(row.total_minor, currency),
            promotion_id: row.promotion_id.map(PromotionId::from_uuid),
        },
        refunded: Money::new(row.refunded_minor, currency),
        create_time: row.create_time.to_jiff(),
        expire_time: row.expire_time.to_jiff(),
    })
}

/// Returns how to reach the buyer of an order; none when the order has no contact, or there is no such order.
#[tracing::instrument(name = "db.order.contact", skip_all)]
pub(crate) async fn contact(
    conn: &mut PgConnection,
    keyring: &Keyring,
    merchant_id: MerchantId,
    id: OrderId,
) -> Result<Option<Contact>, sqlx::Error> {
    let sealed = sqlx::query_scalar!(
        "select contact from orders where merchant_id = $1 and order_id = $2",
        merchant_id.uuid(),
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?
    .flatten();
    sealed
        .map(|sealed| contact::open(keyring, id, &sealed))
        .transpose()
        .map_err(|e| inconsistent("orders", "contact", id, e.to_string()))
}

/// Reads a state from its columns, which must agree.
pub(super) fn state(
    id: OrderId,
    name: &str,
    payment_id: Option<Uuid>,
    pay_time: Option<Timestamp>,
) -> Result<State, sqlx::Error> {
    match (name, payment_id.map(PaymentId::from_uuid), pay_time) {
        ("pending_payment", None, None) => Ok(State::PendingPayment),
        ("paid", payment_id, Some(at)) => Ok(State::Paid { payment_id, at }),
        ("cancelled", None, None) => Ok(State::Cancelled),
        ("expired", None, None) => Ok(State::Expired),
        (other, ..) => {
            Err(inconsistent("orders", "state", id, format!("{other:?} with or without a payment")))
        }
    }
}

async fn load_lines(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    ids: &[Uuid],
    orders: &mut [OrderDetails],
    at: &HashMap<Uuid, usize>,
) -> Result<(), sqlx::Error> {
    let rows = sqlx::query!(
        "select order_id, line_id, sku, name, quantity, unit_price_minor, subtotal_minor, discount_minor, fulfilment
         from order_line where merchant_id = $1 and order_id = any($2) order by order_id, line_id",
        merchant_id.uuid(),
        ids,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let id = LineId::from_uuid(row.line_id);
        let Some(&at) = at.get(&row.order_id) else { continue };
        let order = &mut orders[at].order;
        let currency = order.price.total.currency();
        let subtotal = Money::new(row.subtotal_minor, currency);
        let discount = Money::new(row.discount_minor, currency);
        order.lines.push(Line {
            id,
            sku: row.sku,
            name: row.name,
            item: Item {
                quantity: count("order_line", "quantity", id, row.quantity)?,
                unit_price: Money::new(row.unit_price_minor, currency),
            },
            price: LinePrice { subtotal, discount, total: rest("order_line", id, subtotal, discount)? },
            fulfilment: match row.fulfilment.as_str() {
                "shipped" => Fulfilment::Shipped,
                "voucher" => Fulfilment::Voucher,
                other => return Err(inconsistent("order_line", "fulfilment", id, format!("{other:?}"))),
            },
        });
    }
    Ok(())
}

/// Cancels an order that is pending payment; says whether it was.
#[tracing::instrument(name = "db.order.cancel", skip_all)]
pub(crate) async fn cancel(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: OrderId,
) -> Result<bool, sqlx::Error> {
    let updated = sqlx::query!(
        "update orders set state = 'cancelled'
         where merchant_id = $1 and order_id = $2 and state = 'pending_payment'",
        merchant_id.uuid(),
        id.uuid(),
    )
    .execute(conn)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// Takes at most `limit` orders whose time is up and that no other worker has, and keeps other workers from them
/// until `lease_end`.
#[tracing::instrument(level = "debug", name = "db.order.claim_due", skip_all)]
pub(crate) async fn claim_due(
    conn: &mut PgConnection,
    now: Timestamp,
    lease_end: Timestamp,
    limit: i64,
) -> Result<Vec<(MerchantId, OrderId)>, sqlx::Error> {
    // The rows are locked when they are updated, so their state is not asked for again: that would have the planner
    // walk all pending orders instead of the primary key.
    let rows = sqlx::query!(
        "with due as (
             select merchant_id, order_id from orders
             where state = 'pending_payment' and next_expiry_try <= $1
             order by next_expiry_try limit $3 for update skip locked
         )
         update orders o set next_expiry_try = $2 from due
         where o.merchant_id = due.merchant_id and o.order_id = due.order_id
         returning o.merchant_id, o.order_id",
        now.to_sqlx() as _,
        lease_end.to_sqlx() as _,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (MerchantId::from_uuid(row.merchant_id), OrderId::from_uuid(row.order_id)))
        .collect())
}

/// Expires orders that are locked and pending payment.
#[tracing::instrument(name = "db.order.expire", skip_all)]
pub(crate) async fn expire(
    conn: &mut PgConnection,
    orders: &[(MerchantId, OrderId)],
) -> Result<(), sqlx::Error> {
    let (merchants, ids) = columns(orders);
    let updated = sqlx::query!(
        "update orders set state = 'expired'
         where (merchant_id, order_id) in (select * from unnest($1::uuid[], $2::uuid[])) and state = 'pending_payment'",
        &merchants,
        &ids,
    )
    .execute(conn)
    .await?;
    expect_rows("orders", orders.len(), updated.rows_affected())
}
