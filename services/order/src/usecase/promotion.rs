//! Promotions: begun, listed, ended.

use tael_idempotency::IdempotencyKey;
use tael_ids::{MerchantId, PromotionId};
use tael_money::Money;
use uuid::Uuid;

use super::{Error, Orders};
use crate::domain::promotion::Promotion;
use crate::store;

impl Orders {
    /// Starts a promotion.
    pub(crate) async fn create_promotion(
        &self,
        merchant_id: MerchantId,
        name: String,
        threshold: Money,
        saving: Money,
        guard: IdempotencyKey,
    ) -> Result<Promotion, Error> {
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
        if store::promotion::insert(&mut conn, &promotion, &guard).await? {
            return Ok(promotion);
        }
        let (promotion, fingerprint) =
            store::promotion::by_key(&mut conn, merchant_id, &guard.key).await?.ok_or(Error::RowVanished)?;
        guard.check(&fingerprint).map_err(Error::KeyReused)?;
        Ok(promotion)
    }

    /// Returns at most `limit` promotions, newest first, after the one given.
    pub(crate) async fn list_promotions(
        &self,
        merchant_id: MerchantId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Promotion>, Error> {
        Ok(store::promotion::list(&self.pool, merchant_id, after, limit).await?)
    }

    /// Ends a promotion; one that ended before stays as it is.
    pub(crate) async fn end_promotion(
        &self,
        merchant_id: MerchantId,
        id: PromotionId,
    ) -> Result<Promotion, Error> {
        store::promotion::end(&self.pool, merchant_id, id, self.clock.now())
            .await?
            .ok_or(Error::PromotionNotFound(id))
    }
}
