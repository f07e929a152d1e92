//! Orders: made, looked at, given up.

use sqlx::PgConnection;
use tael_fault::crash_point;
use tael_idempotency::IdempotencyKey;
use tael_ids::{MerchantId, OrderId};
use uuid::Uuid;

use super::{Failure, Orders, check_key, from_failures};
use crate::clients::{Closing, PaymentUnavailable};
use crate::domain::details::OrderDetails;
use crate::domain::order::{Contact, Decision, GiveUp, NewOrder, Order};
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
    #[error("nothing is left to pay after the discount")]
    NothingToPay,
    #[error(transparent)]
    Payment(#[from] PaymentUnavailable),
    #[error(transparent)]
    Failure(#[from] Failure),
}

from_failures!(OrderError: sqlx::Error);

impl Orders {
    /// Prices and stores an order.
    pub(crate) async fn create(
        &self,
        new: NewOrder,
        key: IdempotencyKey,
    ) -> Result<OrderDetails, OrderError> {
        let merchant_id = new.merchant_id;
        let mut tx = self.pool.begin().await?;
        let offers = store::promotion::offers(&mut tx, merchant_id, new.basket.currency()).await?;
        let Ok((price, lines)) = new.basket.price(&offers) else {
            // An equal call before may have been priced when this promotion had not begun: it is answered alike.
            return self.made_before(&mut tx, merchant_id, key).await?.ok_or(OrderError::NothingToPay);
        };
        let contact = new.contact.clone();
        let order = new.place(price, lines, self.clock.now());
        if !store::order::insert(&mut tx, &self.keyring, &order, contact.as_ref(), &key).await? {
            let before = self.made_before(&mut tx, merchant_id, key).await?;
            return Ok(before.ok_or(Failure::RowVanished)?);
        }
        store::order::insert_lines(&mut tx, &order).await?;
        self.log.append(&mut tx, &[events::created(&order)]).await?;
        tx.commit().await?;
        crash_point("order.create.committed");
        self.log.wake();
        Ok(order.into())
    }

    async fn made_before(
        &self,
        conn: &mut PgConnection,
        merchant_id: MerchantId,
        key: IdempotencyKey,
    ) -> Result<Option<OrderDetails>, Failure> {
        let Some((id, fingerprint)) = store::order::id_by_key(conn, merchant_id, &key.key).await? else {
            return Ok(None);
        };
        check_key(key, &fingerprint)?;
        Ok(store::order::load(conn, merchant_id, &[id.uuid()]).await?.pop())
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

    /// Returns at most `limit` orders, newest first, after the one given; those in one state, or all.
    pub(crate) async fn list(
        &self,
        merchant_id: MerchantId,
        state: Option<&'static str>,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<OrderDetails>, OrderError> {
        let mut conn = self.pool.acquire().await?;
        let ids = match state {
            Some(state) => store::order::ids_in_state(&mut conn, merchant_id, state, after, limit).await?,
            None => store::order::ids(&mut conn, merchant_id, after, limit).await?,
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
