//! Refunds of paid orders, as they are told by events.
//!
//! The transaction is the consumer's, see [`super::payment_received`].

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use sqlx::PgConnection;
use tael_eventlog::{ApplyError, EventLog};
use tael_ids::{LineId, MerchantId, OrderId};

use super::locked_order::{LockedOrders, lock};
use crate::domain::order_balance::{Contradiction, OrderBalance, OrderRefund};
use crate::domain::voucher::Refunded;
use crate::events;
use crate::store::locked_order::CountedRefund;
use crate::store::{self, voucher};

/// Applies money that went back: it adds to what was refunded of the order, and takes back the uses of vouchers that
/// it pays for.
pub(crate) async fn apply_refunds(
    conn: &mut PgConnection,
    log: &EventLog,
    now: Timestamp,
    refunds: &[OrderRefund],
) -> Result<(), ApplyError> {
    let mut orders = lock(conn, refunds.iter().map(OrderRefund::order)).await?;
    for refund in refunds {
        if !orders.contains_key(&refund.order()) {
            return Err(Contradiction::UnknownOrder(refund.order_id).into());
        }
    }
    count_refunds(conn, log, now, &mut orders, &refunds.iter().collect::<Vec<_>>()).await
}

/// Counts the refunds of known orders that were not counted before.
pub(super) async fn count_refunds(
    conn: &mut PgConnection,
    log: &EventLog,
    now: Timestamp,
    orders: &mut LockedOrders,
    refunds: &[&OrderRefund],
) -> Result<(), ApplyError> {
    if refunds.is_empty() {
        return Ok(());
    }
    let rows: Vec<CountedRefund> = refunds
        .iter()
        .map(|r| CountedRefund {
            merchant_id: r.merchant_id,
            order_id: r.order_id,
            refund_id: r.refund_id,
            amount: r.amount,
        })
        .collect();
    // The cursor alone would do; this row also holds when a dead letter is replayed.
    let mut new: HashSet<_> =
        store::locked_order::remember_refunds(conn, &rows, now).await?.into_iter().collect();

    let mut events = Vec::new();
    let mut touched = BTreeSet::new();
    let mut units: HashMap<LineId, u32> = HashMap::new();
    for refund in refunds.iter().filter(|r| new.remove(&(r.merchant_id, r.refund_id))) {
        let key = refund.order();
        let order = orders.get_mut(&key).ok_or(Contradiction::UnknownOrder(refund.order_id))?;
        order.refund(refund)?;
        events.push(events::refunded(refund, order.refunded, now));
        touched.insert(key);
        for &(line, quantity) in &refund.lines {
            let sum = units.entry(line).or_default();
            *sum = sum.saturating_add(quantity);
        }
    }
    if touched.is_empty() {
        return Ok(());
    }
    let changed: Vec<OrderBalance> = touched.iter().filter_map(|key| orders.get(key)).copied().collect();
    store::locked_order::refund(conn, &changed).await?;
    void_vouchers(conn, orders, &touched, &units).await?;
    log.append(conn, &events).await?;
    Ok(())
}

/// Takes back the uses of refunded lines; all that are left when the whole order was refunded.
async fn void_vouchers(
    conn: &mut PgConnection,
    orders: &LockedOrders,
    touched: &BTreeSet<(MerchantId, OrderId)>,
    units: &HashMap<LineId, u32>,
) -> Result<(), sqlx::Error> {
    let keys: Vec<_> = touched.iter().copied().collect();
    let mut changed = Vec::new();
    for (merchant_id, mut voucher) in voucher::lock_of_orders(conn, &keys).await? {
        let Some(order) = orders.get(&(merchant_id, voucher.order_id)) else { continue };
        let before = voucher.voided;
        if order.is_fully_refunded() {
            voucher.void(Refunded::All);
        } else if let Some(&units) = units.get(&voucher.line_id) {
            voucher.void(Refunded::Units(units));
        }
        if voucher.voided != before {
            changed.push((merchant_id, voucher));
        }
    }
    if changed.is_empty() {
        return Ok(());
    }
    voucher::void(conn, &changed).await
}
