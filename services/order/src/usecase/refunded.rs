//! Refunds of paid orders, as they are told by events.
//!
//! The transaction is the consumer's, see [`super::received`].

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use sqlx::PgConnection;
use tael_eventlog::{ApplyError, EventLog};
use tael_ids::{LineId, MerchantId, OrderId, PaymentId, RefundId};
use tael_money::Money;

use super::received::{Contradiction, Standings, lock};
use crate::domain::order::State;
use crate::domain::voucher::Refunded;
use crate::events;
use crate::store::received::{CountedRefund, Standing};
use crate::store::{self, voucher};

/// Money of an order that went back.
#[derive(Clone, Debug)]
pub(crate) struct PaidRefund {
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    pub(crate) payment_id: PaymentId,
    pub(crate) refund_id: RefundId,
    pub(crate) amount: Money,
    /// The lines it covers, with their units; none when it is not by line.
    pub(crate) lines: Vec<(LineId, u32)>,
    pub(crate) traceparent: Option<String>,
}

impl PaidRefund {
    /// The key of the order.
    pub(super) fn order(&self) -> (MerchantId, OrderId) {
        (self.merchant_id, self.order_id)
    }

    /// Says whether the payment that is refunded is the one that paid the order.
    pub(super) fn is_of(&self, order: &Standing) -> bool {
        match order.state {
            State::Paid { payment_id, .. } => payment_id == self.payment_id,
            State::PendingPayment | State::Cancelled | State::Expired => false,
        }
    }
}

/// Applies money that went back: it adds to what was refunded of the order, and takes back the uses of vouchers that
/// it pays for.
pub(crate) async fn refunds(
    conn: &mut PgConnection,
    log: &EventLog,
    now: Timestamp,
    refunds: &[PaidRefund],
) -> Result<(), ApplyError> {
    let mut orders = lock(conn, refunds.iter().map(PaidRefund::order)).await?;
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
    orders: &mut Standings,
    refunds: &[&PaidRefund],
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
    // The cursor alone would do; this row also holds when an event set aside is replayed.
    let mut new: HashSet<_> =
        store::received::remember_refunds(conn, &rows, now).await?.into_iter().collect();

    let mut events = Vec::new();
    let mut touched = BTreeSet::new();
    let mut units: HashMap<LineId, u32> = HashMap::new();
    for refund in refunds.iter().filter(|r| new.remove(&(r.merchant_id, r.refund_id))) {
        let key = refund.order();
        let order = orders.get_mut(&key).ok_or(Contradiction::UnknownOrder(refund.order_id))?;
        count_refund(order, refund)?;
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
    let changed: Vec<Standing> = touched.iter().filter_map(|key| orders.get(key)).copied().collect();
    store::received::refund(conn, &changed).await?;
    void_vouchers(conn, orders, &touched, &units).await?;
    log.append(conn, &events).await?;
    Ok(())
}

fn count_refund(order: &mut Standing, refund: &PaidRefund) -> Result<(), Contradiction> {
    if !refund.is_of(order) {
        return Err(Contradiction::OtherPayment(refund.order_id));
    }
    let exceeds = || Contradiction::ExceedsTotal(refund.order_id);
    let sum = order.refunded.checked_add(refund.amount).map_err(|_| exceeds())?;
    if sum.minor() > order.total.minor() {
        return Err(exceeds());
    }
    order.refunded = sum;
    Ok(())
}

/// Takes back the uses of refunded lines; all that are left when the whole order was refunded.
async fn void_vouchers(
    conn: &mut PgConnection,
    orders: &Standings,
    touched: &BTreeSet<(MerchantId, OrderId)>,
    units: &HashMap<LineId, u32>,
) -> Result<(), sqlx::Error> {
    let keys: Vec<_> = touched.iter().copied().collect();
    let mut changed = Vec::new();
    for (merchant_id, mut voucher) in voucher::lock_of_orders(conn, &keys).await? {
        let Some(order) = orders.get(&(merchant_id, voucher.order_id)) else { continue };
        let before = voucher.voided;
        if order.refunded == order.total {
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
