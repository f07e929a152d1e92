//! Orders: made, looked at, given up.

use sqlx::PgConnection;
use tael_fault::crash_point;
use tael_idempotency::IdempotencyKey;
use tael_ids::{MerchantId, OrderId};
use uuid::Uuid;

use super::voucher::{self, IssueError};
use super::{Failure, Orders, check_key, from_failures};
use crate::clients::{Closing, PaymentUnavailable};
use crate::domain::details::OrderDetails;
use crate::domain::order::{Contact, Decision, GiveUp, NewOrder, Order, State};
use crate::{events, store};

/// Why something was not done with an order.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("the merchant has no order {0}")]
    NotFound(OrderId),
    #[error("order {order_id} is {state}")]
    State { order_id: OrderId, state: &'static str },
    #[error("order {0} may be paid at this moment, call again")]
    PaymentInDoubt(OrderId),
    #[error("the merchant's own order number is that of order {order_id}, which is another one")]
    ReferenceReused { order_id: OrderId, merchant_reference: String },
    #[error(transparent)]
    Payment(#[from] PaymentUnavailable),
    #[error(transparent)]
    Failure(#[from] Failure),
}

from_failures!(OrderError: sqlx::Error, IssueError);

/// Which orders are wanted.
#[derive(Clone, Debug)]
pub(crate) struct OrderFilter {
    pub(crate) merchant_id: MerchantId,
    /// In this state, by its name; in all when none.
    pub(crate) state: Option<&'static str>,
    /// With this number of the merchant's; with any when none.
    pub(crate) merchant_reference: Option<String>,
}

impl Orders {
    /// Prices and stores an order; it is paid at once when nothing is left to pay.
    pub(crate) async fn create(
        &self,
        new: NewOrder,
        key: IdempotencyKey,
    ) -> Result<OrderDetails, OrderError> {
        let merchant_id = new.merchant_id;
        let mut tx = self.pool.begin().await?;
        let offers = store::promotion::offers(&mut tx, merchant_id, new.basket.currency()).await?;
        let (price, lines) = new.basket.price(&offers);
        let contact = new.contact.clone();
        let now = self.clock.now();
        let order = new.place(price, lines, now);
        if !store::order::insert(&mut tx, &self.keyring, &order, contact.as_ref(), &key).await? {
            return self.made_before(&mut tx, order, key).await;
        }
        store::order::insert_lines(&mut tx, &order).await?;
        let mut events = vec![events::created(&order)];
        let mut details = OrderDetails::from(order);
        if let State::Paid { .. } = details.order.state {
            events.push(events::paid_without_money(&details.order));
            let order_key = (merchant_id, details.order.id);
            for (_, voucher) in voucher::issue(&mut tx, &[order_key], now).await? {
                events.push(events::issued(merchant_id, &voucher, None));
                details.vouchers.push(voucher);
            }
        }
        self.log.append(&mut tx, &events).await?;
        tx.commit().await?;
        crash_point("order.create.committed");
        self.log.wake();
        Ok(details)
    }

    /// Returns the order that was made under this key, or the first one with the same number if it was asked for alike.
    async fn made_before(
        &self,
        conn: &mut PgConnection,
        order: Order,
        key: IdempotencyKey,
    ) -> Result<OrderDetails, OrderError> {
        let Order { merchant_id, merchant_reference, .. } = order;
        let id = match store::order::id_by_key(conn, merchant_id, &key.key).await? {
            Some((id, fingerprint)) => {
                check_key(key, &fingerprint)?;
                id
            }
            None => match store::order::id_by_reference(conn, merchant_id, &merchant_reference).await? {
                Some((id, fingerprint)) if fingerprint == key.fingerprint => id,
                Some((order_id, _)) => {
                    return Err(OrderError::ReferenceReused { order_id, merchant_reference });
                }
                None => return Err(Failure::RowVanished.into()),
            },
        };
        Ok(store::order::load(conn, merchant_id, &[id.uuid()]).await?.pop().ok_or(Failure::RowVanished)?)
    }

    /// Returns an order.
    pub(crate) async fn get(&self, merchant_id: MerchantId, id: OrderId) -> Result<OrderDetails, OrderError> {
        let mut conn = self.pool.acquire().await?;
        let mut orders = store::order::load(&mut conn, merchant_id, &[id.uuid()]).await?;
        orders.pop().ok_or(OrderError::NotFound(id))
    }

    /// Returns how to reach the buyer of an order.
    pub(crate) async fn contact(
        &self,
        merchant_id: MerchantId,
        id: OrderId,
    ) -> Result<Option<Contact>, OrderError> {
        let mut conn = self.pool.acquire().await?;
        Ok(store::order::contact(&mut conn, &self.keyring, merchant_id, id).await?)
    }

    /// Returns at most `limit` orders that pass the filter, newest first, after the one given.
    pub(crate) async fn list(
        &self,
        filter: &OrderFilter,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<OrderDetails>, OrderError> {
        let merchant_id = filter.merchant_id;
        let mut conn = self.pool.acquire().await?;
        let ids = match (&filter.merchant_reference, filter.state) {
            (Some(reference), state) => {
                store::order::ids_by_reference(&mut conn, merchant_id, reference, state, after, limit).await?
            }
            (None, Some(state)) => {
                store::order::ids_in_state(&mut conn, merchant_id, state, after, limit).await?
            }
            (None, None) => store::order::ids(&mut conn, merchant_id, after, limit).await?,
        };
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        Ok(store::order::load(&mut conn, merchant_id, &ids).await?)
    }

    /// Gives an order up, after its payment is known to be closed.
    pub(crate) async fn cancel(&self, merchant_id: MerchantId, id: OrderId) -> Result<(), OrderError> {
        let order = self.get(merchant_id, id).await?.order;
        match order.state.give_up(GiveUp::Cancel) {
            Decision::AlreadyDone => return Ok(()),
            Decision::Refuse => return Err(refused(&order)),
            Decision::Move => {}
        }
        match self.payments.close(merchant_id, id).await? {
            Closing::Closed => {}
            // The payment's event is on its way and will mark the order as paid.
            Closing::Paid => return Err(OrderError::State { order_id: id, state: "paid" }),
            Closing::InDoubt => return Err(OrderError::PaymentInDoubt(id)),
        }
        crash_point("order.cancel.closed");
        // A payment may begin right here, after the last one was closed and before the order is cancelled. The
        // payment service looks at the order first and starts none for a cancelled one; if one slips through, its
        // money comes for a cancelled order and is late, visibly.
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if store::order::cancel(&mut tx, merchant_id, id).await? {
            self.log.append(&mut tx, &[events::cancelled(merchant_id, id, now)]).await?;
            tx.commit().await?;
            crash_point("order.cancel.committed");
            self.log.wake();
            return Ok(());
        }
        tx.rollback().await?;
        // Somebody was faster: another call, the expiry, or the payment's event.
        let order = self.get(merchant_id, id).await?.order;
        match order.state.give_up(GiveUp::Cancel) {
            Decision::AlreadyDone => Ok(()),
            Decision::Refuse | Decision::Move => Err(refused(&order)),
        }
    }
}

fn refused(order: &Order) -> OrderError {
    OrderError::State { order_id: order.id, state: order.state.name() }
}
