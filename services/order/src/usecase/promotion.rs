//! Promotions: begun, listed, ended.

use tael_idempotency::IdempotencyKey;
use tael_ids::{MerchantId, PromotionId};
use tael_money::Money;
use uuid::Uuid;

use super::{Failure, Orders, check_key, from_failures};
use crate::domain::promotion::Promotion;
use crate::store;

/// Why something was not done with a promotion.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PromotionError {
    #[error("there is no promotion {0}")]
    NotFound(PromotionId),
    #[error(transparent)]
    Failure(#[from] Failure),
}

from_failures!(PromotionError: sqlx::Error);

impl Orders {
    /// Starts a promotion.
    pub(crate) async fn create_promotion(
        &self,
        merchant_id: MerchantId,
        name: String,
        threshold: Money,
        saving: Money,
        key: IdempotencyKey,
    ) -> Result<Promotion, PromotionError> {
        let promotion = Promotion {
            id: PromotionId::new(),
            merchant_id,
            name,
            threshold,
            saving,
            create_time: self.clock.now(),
            end_time: None,
        };
        let mut conn = self.pool.acquire().await?;
        if store::promotion::insert(&mut conn, &promotion, &key).await? {
            return Ok(promotion);
        }
        let (promotion, fingerprint) =
            store::promotion::by_key(&mut conn, merchant_id, &key.key).await?.ok_or(Failure::RowVanished)?;
        check_key(key, &fingerprint)?;
        Ok(promotion)
    }

    /// Returns at most `limit` promotions, newest first, after the one given.
    pub(crate) async fn list_promotions(
        &self,
        merchant_id: MerchantId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Promotion>, PromotionError> {
        Ok(store::promotion::list(&self.pool, merchant_id, after, limit).await?)
    }

    /// Ends a promotion; one that ended before stays as it is.
    pub(crate) async fn end_promotion(
        &self,
        merchant_id: MerchantId,
        id: PromotionId,
    ) -> Result<Promotion, PromotionError> {
        store::promotion::end(&self.pool, merchant_id, id, self.clock.now())
            .await?
            .ok_or(PromotionError::NotFound(id))
    }
}
