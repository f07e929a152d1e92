//! Orders whose time is up.

use futures::{StreamExt as _, stream};
use jiff::SignedDuration;
use tael_fault::crash_point;
use tael_grpc::status::Chain;
use tael_ids::{MerchantId, OrderId};
use tael_postgres::within;
use tracing::Instrument as _;

use super::order::OrderError;
use super::{CLAIM_LIMIT, Orders, WRITE_LIMIT};
use crate::clients::Closing;
use crate::domain::order::{Decision, GiveUp};
use crate::{events, store};

/// How many orders are taken at once.
pub(crate) const BATCH: usize = 100;
const BATCH_LIMIT: i64 = 100;
/// How many payments are closed side by side.
const CALLS: usize = 16;
/// For how long other workers leave the batch alone. Also the pause before an order is tried again whose payment
/// could not be closed.
const LEASE: SignedDuration = SignedDuration::from_secs(20);

impl Orders {
    /// Gives up a batch of orders whose time is up: those whose payments are known to be closed expire, in one
    /// transaction; the others are tried again later. Returns how many were taken.
    pub(crate) async fn expire_due(&self) -> Result<usize, OrderError> {
        let now = self.clock.now();
        let claim = async {
            let mut conn = self.pool.acquire().await?;
            store::order::claim_due(&mut conn, now, now + LEASE, BATCH_LIMIT).await
        };
        let due = within::<_, sqlx::Error>(CLAIM_LIMIT, claim).await?;
        let taken = due.len();
        if taken > 0 {
            let span = tracing::info_span!("order.expire", tael.orders = taken);
            self.expire_batch(due).instrument(span).await?;
        }
        Ok(taken)
    }

    async fn expire_batch(&self, due: Vec<(MerchantId, OrderId)>) -> Result<(), OrderError> {
        let closing = due.into_iter().map(|(merchant_id, order_id)| {
            let payments = self.payments.clone();
            async move {
                let closing = payments.close(merchant_id, order_id).await;
                ((merchant_id, order_id), closing)
            }
        });
        let answers: Vec<_> = stream::iter(closing).buffer_unordered(CALLS).collect().await;
        let mut closed = Vec::with_capacity(answers.len());
        for (order, closing) in answers {
            match closing {
                Ok(Closing::Closed) => closed.push(order),
                // Its event is on its way and will mark the order as paid.
                Ok(Closing::Paid) => {}
                Ok(Closing::InDoubt) => {
                    tracing::info!(tael.order_id = %order.1, "an order's payment is in doubt; it expires later");
                }
                Err(error) => {
                    tracing::warn!(tael.order_id = %order.1, error = %Chain(&error), "an order's payment was not closed");
                }
            }
        }
        if closed.is_empty() {
            return Ok(());
        }
        crash_point("order.expire.closed");
        within(WRITE_LIMIT, self.expire_closed(&closed)).await
    }

    /// Expires orders whose payments are closed.
    async fn expire_closed(&self, closed: &[(MerchantId, OrderId)]) -> Result<(), OrderError> {
        // As when cancelling: a payment that slips in between is refused, or its money is held.
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let expired: Vec<_> = store::locked_order::lock(&mut tx, closed)
            .await?
            .into_iter()
            .filter(|order| order.state.give_up(GiveUp::Expire) == Decision::Move)
            .map(|order| (order.merchant_id, order.order_id))
            .collect();
        if expired.is_empty() {
            return Ok(());
        }
        store::order::expire(&mut tx, &expired).await?;
        let events: Vec<_> =
            expired.iter().map(|&(merchant_id, id)| events::expired(merchant_id, id, now)).collect();
        self.log.append(&mut tx, &events).await?;
        tx.commit().await?;
        crash_point("order.expire.committed");
        self.log.wake();
        Ok(())
    }
}
