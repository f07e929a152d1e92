//! Refunds of paid orders, as they are told by events.
//!
//! The transaction is the consumer's, see [`super::payment_received`].

use std::collections::{BTreeSet, HashSet};

use jiff::Timestamp;
use sqlx::PgConnection;
use tael_eventlog::{ApplyError, EventLog};
use tael_ids::{MerchantId, OrderId};

use super::locked_order::{LockedOrders, lock};
use super::voucher_reservation;
use crate::domain::order_balance::{Contradiction, FailedRefund, OrderBalance, OrderRefund};
use crate::domain::voucher::{Refunded, ReservationState};
use crate::store::locked_order::CountedRefund;
use crate::{events, store};

/// Applies money that went back, and refunds that will not happen: what went back adds to what was refunded of the order
/// and takes back the uses of vouchers that it pays for; what failed gives back the uses that were set aside for it.
pub(crate) async fn apply_refunds(
    conn: &mut PgConnection,
    log: &EventLog,
    now: Timestamp,
    refunds: &[OrderRefund],
    failures: &[FailedRefund],
) -> Result<(), ApplyError> {
    let keys = refunds.iter().map(OrderRefund::order).chain(failures.iter().map(|failure| failure.order));
    let mut orders = lock(conn, keys).await?;
    for refund in refunds {
        if !orders.contains_key(&refund.order()) {
            return Err(Contradiction::UnknownOrder(refund.order_id).into());
        }
    }
    count_refunds(conn, log, now, &mut orders, &refunds.iter().collect::<Vec<_>>()).await?;
    for failure in failures.iter().filter(|failure| orders.contains_key(&failure.order)) {
        let (merchant_id, order_id) = failure.order;
        voucher_reservation::release(conn, now, (merchant_id, failure.refund_id), order_id).await?;
    }
    Ok(())
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
    let mut counted = Vec::new();
    for &refund in refunds.iter().filter(|r| new.remove(&(r.merchant_id, r.refund_id))) {
        let key = refund.order();
        let order = orders.get_mut(&key).ok_or(Contradiction::UnknownOrder(refund.order_id))?;
        order.refund(refund)?;
        events.push(events::refunded(refund, order.refunded, now));
        touched.insert(key);
        counted.push(refund);
    }
    if counted.is_empty() {
        return Ok(());
    }
    let changed: Vec<OrderBalance> = touched.iter().filter_map(|key| orders.get(key)).copied().collect();
    store::locked_order::refund(conn, &changed).await?;
    take_back_uses(conn, now, orders, &touched, &counted).await?;
    log.append(conn, &events).await?;
    Ok(())
}

/// Takes back what was set aside for the refunds. Of a refund for which nothing was, as before uses were set aside, the
/// uses of its lines, as far as they are left; and all that are left when the whole order was refunded.
async fn take_back_uses(
    conn: &mut PgConnection,
    now: Timestamp,
    orders: &LockedOrders,
    touched: &BTreeSet<(MerchantId, OrderId)>,
    refunds: &[&OrderRefund],
) -> Result<(), sqlx::Error> {
    let keys: Vec<_> = touched.iter().copied().collect();
    let mut vouchers = store::voucher::lock_of_orders(conn, &keys).await?;
    if vouchers.is_empty() {
        return Ok(());
    }
    let before = vouchers.clone();
    let keys: Vec<_> = refunds.iter().map(|r| (r.merchant_id, r.refund_id)).collect();
    let reserved = store::voucher_reservation::open(conn, &keys).await?;
    for refund in refunds {
        let of_order = vouchers
            .iter_mut()
            .filter(|(merchant_id, voucher)| (*merchant_id, voucher.order_id) == refund.order());
        let uses = reserved.get(&(refund.merchant_id, refund.refund_id));
        for (_, voucher) in of_order {
            let (id, line_id) = (voucher.id, voucher.line_id);
            match uses {
                Some(uses) => {
                    for &uses in uses.iter().filter(|uses| uses.voucher_id == id) {
                        voucher.take_back(uses);
                    }
                }
                None => {
                    for &(_, units) in refund.lines.iter().filter(|(line, _)| *line == line_id) {
                        voucher.void(Refunded::Units(units));
                    }
                }
            }
        }
    }
    for (merchant_id, voucher) in &mut vouchers {
        if orders.get(&(*merchant_id, voucher.order_id)).is_some_and(OrderBalance::is_fully_refunded) {
            voucher.void(Refunded::All);
        }
    }
    let changed: Vec<_> =
        vouchers.into_iter().zip(before).filter(|(now, before)| now != before).map(|(now, _)| now).collect();
    store::voucher::write_uses(conn, &changed).await?;
    let ended: Vec<_> = reserved.into_keys().collect();
    store::voucher_reservation::end(conn, &ended, ReservationState::TakenBack, now).await
}
