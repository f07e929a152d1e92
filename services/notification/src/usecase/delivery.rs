//! Showing and replaying deliveries.

use tael_idempotency::IdempotencyKey;
use tael_ids::{DeliveryId, MerchantId, WebhookEndpointId};
use uuid::Uuid;

use crate::domain::delivery::Delivery;
use crate::store;
use crate::usecase::Notifications;

/// Why a delivery is not shown or replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeliveryError {
    /// The merchant has no such delivery.
    #[error("the merchant has no such delivery")]
    NotFound(DeliveryId),
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used before")]
    KeyReused(IdempotencyKey),
    /// A row that must be there is not.
    #[error("a row vanished")]
    RowVanished,
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

type Result<T> = std::result::Result<T, DeliveryError>;

impl Notifications {
    /// Returns a delivery.
    pub(crate) async fn delivery(&self, merchant_id: MerchantId, id: DeliveryId) -> Result<Delivery> {
        store::delivery::get(&self.pool, merchant_id, id).await?.ok_or(DeliveryError::NotFound(id))
    }

    /// Returns a merchant's deliveries, newest first: those to one endpoint and in one state (as stored), if given.
    pub(crate) async fn list_deliveries(
        &self,
        merchant_id: MerchantId,
        endpoint_id: Option<WebhookEndpointId>,
        state: Option<&'static str>,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Delivery>> {
        Ok(store::delivery::list(&self.pool, merchant_id, endpoint_id, state, after, limit).await?)
    }

    /// Sends a delivery again, whatever became of it. The same call again does not send it once more.
    pub(crate) async fn replay(
        &self,
        merchant_id: MerchantId,
        id: DeliveryId,
        key: IdempotencyKey,
    ) -> Result<Delivery> {
        let mut tx = self.pool.begin().await?;
        let now = self.clock.now();
        match store::delivery::note_replay(&mut tx, merchant_id, id, &key, now).await? {
            None => return Err(DeliveryError::NotFound(id)),
            Some(true) => store::delivery::replay(&mut tx, merchant_id, id, now).await?,
            Some(false) => {
                let fingerprint = store::delivery::replay_by_key(&mut tx, merchant_id, &key.key)
                    .await?
                    .ok_or(DeliveryError::RowVanished)?;
                if !key.matches(&fingerprint) {
                    return Err(DeliveryError::KeyReused(key));
                }
            }
        }
        tx.commit().await?;
        let delivery = self.delivery(merchant_id, id).await?;
        self.due.notify_one();
        Ok(delivery)
    }
}
