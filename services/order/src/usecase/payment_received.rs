//! Payments that came for orders, and money that went back: whole batches of the payment service's events.
//!
//! The transaction is the consumer's, which moves its cursor in it, so that each event has its effect once. Whatever
//! the size of a batch, the number of statements is the same. Orders are locked before unapplied payments and
//! vouchers, all in the order of their keys.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::PgConnection;
use tael_eventlog::{ApplyError, EventLog, NewEvent};
use tael_ids::{MerchantId, RefundId};

use super::locked_order::{LockedOrders, OrderPayment, lock, pay, pay_orders};
use super::order_refund::count_refunds;
use super::unapplied_payment::{self, CompletedRefund, UnappliedRefund};
use crate::domain::order::Allocation;
use crate::domain::order_balance::{Contradiction, OrderRefund, PaymentReceived};
use crate::domain::unapplied_payment::{Action, RefundOutcome, State as UnappliedState, UnappliedPayment};
use crate::store::unapplied_payment::Change;
use crate::{events, store};

/// Applies payments that came, money that the channel gave back in closing a payment, and what became of refunds.
///
/// Whatever their places in the batch, payments go first: a payment is reversed or refunded after it brought its money,
/// and what goes back decides on no payment.
pub(crate) async fn apply_payments(
    conn: &mut PgConnection,
    log: &EventLog,
    now: Timestamp,
    payments: &[PaymentReceived],
    reversals: &[OrderRefund],
    refunds: &[CompletedRefund],
) -> Result<(), ApplyError> {
    let mut outcomes = unapplied_payment::outcomes(conn, refunds).await?;
    if payments.is_empty() && reversals.is_empty() && outcomes.is_empty() {
        return Ok(());
    }
    let keys = payments.iter().map(PaymentReceived::order);
    let keys = keys
        .chain(reversals.iter().map(OrderRefund::order))
        .chain(outcomes.iter().map(UnappliedRefund::order));
    let mut orders = lock(conn, keys).await?;
    receive(conn, log, now, &mut orders, payments).await?;
    // A reversal is a refund of the order that the payment paid. When it paid none, its money is unapplied or was never
    // told of, and no order has anything to give back.
    let (refunded, unpaid): (Vec<&OrderRefund>, Vec<&OrderRefund>) = reversals
        .iter()
        .partition(|r| orders.get(&r.order()).is_some_and(|order| order.is_paid_by(r.payment_id)));
    count_refunds(conn, log, now, &mut orders, &refunded).await?;
    outcomes.extend(unpaid.into_iter().map(|reversal| UnappliedRefund {
        key: (reversal.merchant_id, reversal.order_id, reversal.payment_id),
        refund_id: reversal.refund_id,
        outcome: RefundOutcome::Reversed,
        traceparent: reversal.traceparent.clone(),
    }));
    unapplied_payment::apply_outcomes(conn, log, now, &outcomes).await?;
    Ok(())
}

/// Applies payments that came: each pays its order, which gets its vouchers, or the order can't take it.
async fn receive(
    conn: &mut PgConnection,
    log: &EventLog,
    now: Timestamp,
    orders: &mut LockedOrders,
    payments: &[PaymentReceived],
) -> Result<(), ApplyError> {
    let mut pays: Vec<OrderPayment<'_>> = Vec::new();
    let mut late: Vec<&PaymentReceived> = Vec::new();
    for payment in payments {
        let order = orders.get_mut(&payment.order()).ok_or(Contradiction::UnknownOrder(payment.order_id))?;
        match order.allocate(payment) {
            Allocation::Pays => pays.push(pay(order, payment)),
            Allocation::AlreadyApplied => {}
            Allocation::Unapplied(_) => late.push(payment),
        }
    }
    let mut events: Vec<NewEvent> = pays.iter().map(|payment| events::paid(payment.received, now)).collect();
    events.extend(pay_orders(conn, &pays, now).await?);
    if !late.is_empty() {
        let (accepted, told) = receive_late(conn, now, orders, &late).await?;
        events.extend(told);
        events.extend(pay_orders(conn, &accepted, now).await?);
    }
    log.append(conn, &events).await?;
    Ok(())
}

/// Does with late payments what the merchants' policies say. All of them are held first, so that the ledger shows them;
/// what its order takes is released in the same transaction. Returns what pays orders after all, and the events that
/// tell of it.
async fn receive_late<'a>(
    conn: &mut PgConnection,
    now: Timestamp,
    orders: &mut LockedOrders,
    late: &[&'a PaymentReceived],
) -> Result<(Vec<OrderPayment<'a>>, Vec<NewEvent>), ApplyError> {
    let keys: Vec<_> = late.iter().map(|p| (p.merchant_id, p.order_id, p.payment_id)).collect();
    let mut known = store::unapplied_payment::known(conn, &keys).await?;
    let merchants: BTreeSet<MerchantId> = late.iter().map(|p| p.merchant_id).collect();
    let policies = store::late_payment_policy::current(conn, &Vec::from_iter(merchants)).await?;

    let (mut rows, mut accepted, mut events) = (Vec::new(), Vec::new(), Vec::new());
    for (&payment, key) in late.iter().zip(keys) {
        // Whatever was decided when it was first told stays.
        if !known.insert(key) {
            continue;
        }
        let order = orders.get_mut(&payment.order()).ok_or(Contradiction::UnknownOrder(payment.order_id))?;
        // Asked again: the order may have taken a late payment just before.
        let Allocation::Unapplied(reason) = order.allocate(payment) else { continue };
        events.push(events::held(payment, now));
        let policy = policies.get(&payment.merchant_id).copied().unwrap_or_default();
        let state = match policy.decide(reason) {
            Action::Hold => UnappliedState::Held { refused: None },
            Action::Refund => UnappliedState::Refunding { refund_id: RefundId::new() },
            Action::Accept => {
                accepted.push(pay(order, payment));
                events.extend(events::accepted(payment, now));
                UnappliedState::Accepted { at: now }
            }
        };
        rows.push(Change {
            merchant_id: payment.merchant_id,
            payment: UnappliedPayment {
                order_id: payment.order_id,
                payment_id: payment.payment_id,
                amount: payment.amount,
                pay_time: payment.pay_time,
                hold_time: now,
                reason,
                state,
            },
            operator: None,
            traceparent: payment.traceparent.clone(),
        });
    }
    if !rows.is_empty() {
        store::unapplied_payment::insert(conn, &rows).await?;
    }
    Ok((accepted, events))
}
