//! Money that came for orders, and money that went back: whole batches of other services' events.
//!
//! The transaction is the consumer's, which moves its cursor in it, so that each event has its effect once. Whatever
//! the size of a batch, the number of statements is the same. Orders are locked before vouchers, both in the order
//! of their keys.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use sqlx::PgConnection;
use tael_eventlog::{ApplyError, EventLog};
use tael_ids::{LineId, MerchantId, OrderId, PaymentId, RefundId, VoucherId};
use tael_money::Money;

use crate::domain::code::{NoRandomness, VoucherCode};
use crate::domain::order::{self, State};
use crate::domain::voucher::{Refunded, Voucher};
use crate::events;
use crate::store::received::{CountedRefund, Held, Paid, Standing, VoucherLine};
use crate::store::{self, voucher};

/// Money that came for an order.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    pub(crate) payment_id: PaymentId,
    pub(crate) amount: Money,
    pub(crate) pay_time: Timestamp,
    pub(crate) traceparent: Option<String>,
}

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
    fn order(&self) -> (MerchantId, OrderId) {
        (self.merchant_id, self.order_id)
    }

    /// Says whether the payment that is refunded is the one that paid the order.
    fn is_of(&self, order: &Standing) -> bool {
        match order.state {
            State::Paid { payment_id, .. } => payment_id == self.payment_id,
            State::PendingPayment | State::Cancelled | State::Expired => false,
        }
    }
}

/// An event contradicts what is known here. It is set aside for a person to look at.
#[derive(Debug, thiserror::Error)]
enum Contradiction {
    #[error("there is no order {0}")]
    UnknownOrder(OrderId),
    #[error("order {0} was not paid by the payment that is refunded")]
    OtherPayment(OrderId),
    #[error("refunds of order {0} exceed its total")]
    ExceedsTotal(OrderId),
}

impl From<Contradiction> for ApplyError {
    fn from(error: Contradiction) -> Self {
        Self::Poison(Box::new(error))
    }
}

/// The orders that a batch locked, as they stand by now.
type Standings = HashMap<(MerchantId, OrderId), Standing>;

/// Applies money that came, and money that the channel gave back in closing a payment.
///
/// Whatever their places in the batch, receipts go first: a payment is reversed after it brought its money, and what is
/// refunded of an order decides on no receipt.
pub(crate) async fn payments(
    conn: &mut PgConnection,
    log: &EventLog,
    now: Timestamp,
    receipts: &[Receipt],
    reversals: &[PaidRefund],
) -> Result<(), ApplyError> {
    let keys = receipts.iter().map(|r| (r.merchant_id, r.order_id));
    let mut orders = lock(conn, keys.chain(reversals.iter().map(PaidRefund::order))).await?;
    receive(conn, log, now, &mut orders, receipts).await?;
    // A reversal is a refund of the order that the payment paid. When it paid none, its money was held or never told
    // of, and no order has anything to give back.
    let refunds: Vec<&PaidRefund> =
        reversals.iter().filter(|r| orders.get(&r.order()).is_some_and(|order| r.is_of(order))).collect();
    count_refunds(conn, log, now, &mut orders, &refunds).await
}

/// Applies money that came: it pays the order, which gets its vouchers, or it is held.
async fn receive(
    conn: &mut PgConnection,
    log: &EventLog,
    now: Timestamp,
    orders: &mut Standings,
    receipts: &[Receipt],
) -> Result<(), ApplyError> {
    if receipts.is_empty() {
        return Ok(());
    }
    let mut paid: Vec<&Receipt> = Vec::new();
    let mut held: Vec<&Receipt> = Vec::new();
    for receipt in receipts {
        let order = orders
            .get_mut(&(receipt.merchant_id, receipt.order_id))
            .ok_or(Contradiction::UnknownOrder(receipt.order_id))?;
        match order.state.receive(order.total, receipt.payment_id, receipt.amount) {
            order::Receipt::Pays => {
                order.state = State::Paid { payment_id: receipt.payment_id, at: receipt.pay_time };
                paid.push(receipt);
            }
            order::Receipt::AlreadyApplied => {}
            order::Receipt::Held => held.push(receipt),
        }
    }
    let mut events = Vec::new();
    if !paid.is_empty() {
        let rows: Vec<Paid> = paid
            .iter()
            .map(|r| Paid {
                merchant_id: r.merchant_id,
                order_id: r.order_id,
                payment_id: r.payment_id,
                at: r.pay_time,
            })
            .collect();
        store::received::pay(conn, &rows).await?;
        events.extend(paid.iter().map(|receipt| events::paid(receipt, now)));
        events.extend(issue_vouchers(conn, &paid, now).await?);
    }
    if !held.is_empty() {
        let rows: Vec<Held> = held
            .iter()
            .map(|r| Held {
                merchant_id: r.merchant_id,
                order_id: r.order_id,
                payment_id: r.payment_id,
                amount: r.amount,
            })
            .collect();
        let mut new: HashSet<PaymentId> =
            store::received::hold(conn, &rows, now).await?.into_iter().collect();
        events.extend(held.iter().filter(|r| new.remove(&r.payment_id)).map(|r| events::held(r, now)));
    }
    log.append(conn, &events).await?;
    Ok(())
}

/// Issues a voucher for each line that wants one, and returns the events that tell of them.
async fn issue_vouchers(
    conn: &mut PgConnection,
    paid: &[&Receipt],
    now: Timestamp,
) -> Result<Vec<tael_eventlog::NewEvent>, ApplyError> {
    let keys: Vec<_> = paid.iter().map(|r| (r.merchant_id, r.order_id)).collect();
    let lines = store::received::voucher_lines(conn, &keys).await?;
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let mut vouchers = Vec::with_capacity(lines.len());
    for line in lines {
        let voucher = new_voucher(line, now).map_err(|e| ApplyError::Transient(Box::new(e)))?;
        vouchers.push((line.merchant_id, voucher));
    }
    voucher::insert(conn, &vouchers, now).await?;
    let receipts: HashMap<OrderId, &Receipt> = paid.iter().map(|r| (r.order_id, *r)).collect();
    Ok(vouchers
        .iter()
        .filter_map(|(_, voucher)| Some(events::issued(voucher, receipts.get(&voucher.order_id)?)))
        .collect())
}

fn new_voucher(line: VoucherLine, now: Timestamp) -> Result<Voucher, NoRandomness> {
    Ok(Voucher {
        id: VoucherId::new(),
        order_id: line.order_id,
        line_id: line.line_id,
        code: VoucherCode::generate()?,
        uses: line.quantity,
        redeemed: 0,
        voided: 0,
        issue_time: now,
    })
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
async fn count_refunds(
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

/// Locks the orders, each once, and returns where they stand.
async fn lock(
    conn: &mut PgConnection,
    keys: impl Iterator<Item = (MerchantId, OrderId)>,
) -> Result<Standings, sqlx::Error> {
    let keys: Vec<_> = keys.collect::<BTreeSet<_>>().into_iter().collect();
    let standings = store::received::lock(conn, &keys).await?;
    Ok(standings.into_iter().map(|order| ((order.merchant_id, order.order_id), order)).collect())
}
