//! Orders that a transaction has locked, and what pays them.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use sqlx::PgConnection;
use tael_eventlog::{ApplyError, NewEvent};
use tael_ids::{MerchantId, OrderId};

use super::voucher::{self, IssueError};
use crate::domain::order::State;
use crate::domain::order_balance::{Contradiction, OrderBalance, PaymentReceived};
use crate::store::locked_order::AppliedPayment;
use crate::{events, store};

/// The orders that a batch locked, as they stand by now.
pub(super) type LockedOrders = HashMap<(MerchantId, OrderId), OrderBalance>;

impl From<Contradiction> for ApplyError {
    /// No waiting helps: the event becomes a dead letter.
    fn from(error: Contradiction) -> Self {
        Self::Poison(Box::new(error))
    }
}

/// Locks the orders, each once, and returns where they stand.
pub(super) async fn lock(
    conn: &mut PgConnection,
    keys: impl Iterator<Item = (MerchantId, OrderId)>,
) -> Result<LockedOrders, sqlx::Error> {
    let keys: Vec<_> = keys.collect::<BTreeSet<_>>().into_iter().collect();
    let balances = store::locked_order::lock(conn, &keys).await?;
    Ok(balances.into_iter().map(|order| (order.key(), order)).collect())
}

/// A payment that pays its order.
#[derive(Clone, Copy, Debug)]
pub(super) struct OrderPayment<'a> {
    pub(super) received: &'a PaymentReceived,
    /// The state in which the order was.
    from: State,
}

/// Has an order take a payment.
pub(super) fn pay<'a>(order: &mut OrderBalance, received: &'a PaymentReceived) -> OrderPayment<'a> {
    OrderPayment { received, from: order.pay(received) }
}

/// Stores that orders, which are locked, are paid, and issues their vouchers. Returns the events of the vouchers.
pub(super) async fn pay_orders(
    conn: &mut PgConnection,
    payments: &[OrderPayment<'_>],
    now: Timestamp,
) -> Result<Vec<NewEvent>, IssueError> {
    if payments.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<AppliedPayment> = payments
        .iter()
        .map(|OrderPayment { received, from }| AppliedPayment {
            from: from.name(),
            merchant_id: received.merchant_id,
            order_id: received.order_id,
            payment_id: received.payment_id,
            at: received.pay_time,
        })
        .collect();
    store::locked_order::pay(conn, &rows).await?;
    let keys: Vec<_> = payments.iter().map(|payment| payment.received.order()).collect();
    let vouchers = voucher::issue(conn, &keys, now).await?;
    let received: HashMap<OrderId, &PaymentReceived> =
        payments.iter().map(|payment| (payment.received.order_id, payment.received)).collect();
    Ok(vouchers
        .iter()
        .filter_map(|(merchant_id, voucher)| {
            let traceparent = received.get(&voucher.order_id)?.traceparent.clone();
            Some(events::issued(*merchant_id, voucher, traceparent))
        })
        .collect())
}
