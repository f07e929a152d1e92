//! Money that came for orders, and money that went back: whole batches of other services' events.
//!
//! The transaction is the consumer's, which moves its cursor in it, so that each event has its effect once. Whatever
//! the size of a batch, the number of statements is the same. Orders are locked before held money and
//! vouchers, all in the order of their keys.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use sqlx::PgConnection;
use tael_eventlog::{ApplyError, EventLog, NewEvent};
use tael_ids::{MerchantId, OrderId, PaymentId, RefundId, VoucherId};
use tael_money::Money;

use super::held::{self, End, RefundEnd};
use super::refunded::{PaidRefund, count_refunds};
use crate::domain::code::{NoRandomness, VoucherCode};
use crate::domain::held::{Action, HeldPayment, Outcome, State as HeldState};
use crate::domain::order::{self, State};
use crate::domain::voucher::Voucher;
use crate::events;
use crate::store::held::Held;
use crate::store::received::{Paid, Standing, VoucherLine};
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

/// An event contradicts what is known here. It becomes a dead letter for a person to look at.
#[derive(Debug, thiserror::Error)]
pub(super) enum Contradiction {
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
pub(super) type Standings = HashMap<(MerchantId, OrderId), Standing>;

/// Applies money that came, money that the channel gave back in closing a payment, and what became of refunds.
///
/// Whatever their places in the batch, receipts go first: a payment is reversed or refunded after it brought its money,
/// and what goes back decides on no receipt.
pub(crate) async fn payments(
    conn: &mut PgConnection,
    log: &EventLog,
    now: Timestamp,
    receipts: &[Receipt],
    reversals: &[PaidRefund],
    refunds: &[RefundEnd],
) -> Result<(), ApplyError> {
    let mut ends = held::ends(conn, refunds).await?;
    if receipts.is_empty() && reversals.is_empty() && ends.is_empty() {
        return Ok(());
    }
    let keys = receipts.iter().map(|r| (r.merchant_id, r.order_id));
    let keys = keys.chain(reversals.iter().map(PaidRefund::order)).chain(ends.iter().map(End::order));
    let mut orders = lock(conn, keys).await?;
    receive(conn, log, now, &mut orders, receipts).await?;
    // A reversal is a refund of the order that the payment paid. When it paid none, its money is held or was never told
    // of, and no order has anything to give back.
    let (refunded, unpaid): (Vec<&PaidRefund>, Vec<&PaidRefund>) =
        reversals.iter().partition(|r| orders.get(&r.order()).is_some_and(|order| r.is_of(order)));
    count_refunds(conn, log, now, &mut orders, &refunded).await?;
    ends.extend(unpaid.into_iter().map(|reversal| End {
        key: (reversal.merchant_id, reversal.order_id, reversal.payment_id),
        refund_id: reversal.refund_id,
        outcome: Outcome::Reversed,
        traceparent: reversal.traceparent.clone(),
    }));
    held::end(conn, log, now, &ends).await?;
    Ok(())
}

/// Applies money that came: it pays the order, which gets its vouchers, or it is late.
async fn receive(
    conn: &mut PgConnection,
    log: &EventLog,
    now: Timestamp,
    orders: &mut Standings,
    receipts: &[Receipt],
) -> Result<(), ApplyError> {
    let mut pays: Vec<Payer<'_>> = Vec::new();
    let mut late: Vec<&Receipt> = Vec::new();
    for receipt in receipts {
        let order = orders
            .get_mut(&(receipt.merchant_id, receipt.order_id))
            .ok_or(Contradiction::UnknownOrder(receipt.order_id))?;
        match order.state.receive(order.total, receipt.payment_id, receipt.amount) {
            order::Receipt::Pays => pays.push(pay(order, receipt)),
            order::Receipt::AlreadyApplied => {}
            order::Receipt::Late(_) => late.push(receipt),
        }
    }
    let mut events: Vec<NewEvent> = pays.iter().map(|payer| events::paid(payer.receipt, now)).collect();
    events.extend(pay_orders(conn, &pays, now).await?);
    if !late.is_empty() {
        let (accepted, told) = receive_late(conn, now, orders, &late).await?;
        events.extend(told);
        events.extend(pay_orders(conn, &accepted, now).await?);
    }
    log.append(conn, &events).await?;
    Ok(())
}

/// A receipt that pays its order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payer<'a> {
    receipt: &'a Receipt,
    /// The state in which the order was.
    from: State,
}

/// Has an order take money.
pub(super) fn pay<'a>(order: &mut Standing, receipt: &'a Receipt) -> Payer<'a> {
    let paid = State::Paid { payment_id: receipt.payment_id, at: receipt.pay_time };
    Payer { receipt, from: std::mem::replace(&mut order.state, paid) }
}

/// Does with late money what the merchants' policies say. All of it is held first, so that the ledger shows it; what its
/// order takes is released in the same transaction. Returns what pays orders after all, and the events that tell of it.
async fn receive_late<'a>(
    conn: &mut PgConnection,
    now: Timestamp,
    orders: &mut Standings,
    late: &[&'a Receipt],
) -> Result<(Vec<Payer<'a>>, Vec<NewEvent>), ApplyError> {
    let keys: Vec<_> = late.iter().map(|r| (r.merchant_id, r.order_id, r.payment_id)).collect();
    let mut known = store::held::known(conn, &keys).await?;
    let merchants: BTreeSet<MerchantId> = late.iter().map(|r| r.merchant_id).collect();
    let policies = store::policy::current(conn, &Vec::from_iter(merchants)).await?;

    let (mut rows, mut accepted, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for (&receipt, key) in late.iter().zip(keys) {
        // Whatever was decided when it was first told stays.
        if !known.insert(key) {
            continue;
        }
        let order = orders
            .get_mut(&(receipt.merchant_id, receipt.order_id))
            .ok_or(Contradiction::UnknownOrder(receipt.order_id))?;
        // Asked again: the order may have taken late money just before.
        let order::Receipt::Late(reason) =
            order.state.receive(order.total, receipt.payment_id, receipt.amount)
        else {
            continue;
        };
        events.push(events::held(receipt, now));
        let policy = policies.get(&receipt.merchant_id).copied().unwrap_or_default();
        let state = match policy.decide(reason) {
            Action::Hold => HeldState::Held { refused: None },
            Action::Refund => HeldState::Refunding { refund_id: RefundId::new() },
            Action::Accept => {
                accepted.push(pay(order, receipt));
                events.extend(events::accepted(receipt, now));
                HeldState::Accepted { at: now }
            }
        };
        rows.push(Held {
            merchant_id: receipt.merchant_id,
            payment: HeldPayment {
                order_id: receipt.order_id,
                payment_id: receipt.payment_id,
                amount: receipt.amount,
                pay_time: receipt.pay_time,
                hold_time: now,
                reason,
                state,
            },
            operator: None,
            traceparent: receipt.traceparent.clone(),
        });
    }
    if !rows.is_empty() {
        store::held::insert(conn, &rows).await?;
    }
    Ok((accepted, events))
}

/// Stores that orders, which are locked, are paid, and issues their vouchers. Returns the events of the vouchers.
pub(super) async fn pay_orders(
    conn: &mut PgConnection,
    pays: &[Payer<'_>],
    now: Timestamp,
) -> Result<Vec<NewEvent>, IssueError> {
    if pays.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<Paid> = pays
        .iter()
        .map(|Payer { receipt, from }| Paid {
            from: from.name(),
            merchant_id: receipt.merchant_id,
            order_id: receipt.order_id,
            payment_id: receipt.payment_id,
            at: receipt.pay_time,
        })
        .collect();
    store::received::pay(conn, &rows).await?;
    issue_vouchers(conn, pays, now).await
}

/// Why vouchers were not issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl From<IssueError> for ApplyError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Database(error) => error.into(),
            IssueError::NoRandomness(error) => Self::Transient(Box::new(error)),
        }
    }
}

/// Issues a voucher for each line that wants one, and returns the events that tell of them.
async fn issue_vouchers(
    conn: &mut PgConnection,
    pays: &[Payer<'_>],
    now: Timestamp,
) -> Result<Vec<NewEvent>, IssueError> {
    let keys: Vec<_> = pays.iter().map(|p| (p.receipt.merchant_id, p.receipt.order_id)).collect();
    let lines = store::received::voucher_lines(conn, &keys).await?;
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let mut vouchers = Vec::with_capacity(lines.len());
    for line in lines {
        vouchers.push((line.merchant_id, new_voucher(line, now)?));
    }
    voucher::insert(conn, &vouchers, now).await?;
    let receipts: HashMap<OrderId, &Receipt> = pays.iter().map(|p| (p.receipt.order_id, p.receipt)).collect();
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

/// Locks the orders, each once, and returns where they stand.
pub(super) async fn lock(
    conn: &mut PgConnection,
    keys: impl Iterator<Item = (MerchantId, OrderId)>,
) -> Result<Standings, sqlx::Error> {
    let keys: Vec<_> = keys.collect::<BTreeSet<_>>().into_iter().collect();
    let standings = store::received::lock(conn, &keys).await?;
    Ok(standings.into_iter().map(|order| ((order.merchant_id, order.order_id), order)).collect())
}
