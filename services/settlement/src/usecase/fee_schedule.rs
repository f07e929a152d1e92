//! Fee schedules.

use tael_idempotency::IdempotencyKey;
use tael_ids::MerchantId;

use super::Settlement;
use crate::clients::ClientError;
use crate::domain::fee_schedule::FeeSchedule;
use crate::store;

/// Why a fee schedule was not set or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeeScheduleError {
    #[error("there is no merchant {0}")]
    MerchantNotFound(MerchantId),
    #[error("the idempotency key belongs to another request")]
    KeyReused(IdempotencyKey),
    #[error("a row that was just seen is gone")]
    RowVanished,
    #[error("another service gave no usable answer")]
    Peer(#[source] ClientError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Settlement {
    /// Puts a schedule in force for payments posted from now on.
    pub(crate) async fn set_fee_schedule(
        &self,
        merchant_id: MerchantId,
        schedule: FeeSchedule,
        guard: IdempotencyKey,
    ) -> Result<FeeSchedule, FeeScheduleError> {
        // Only a merchant that exists has a schedule.
        self.clients.time_zone(merchant_id).await.map_err(|error| match error {
            ClientError::MerchantNotFound => FeeScheduleError::MerchantNotFound(merchant_id),
            other => FeeScheduleError::Peer(other),
        })?;
        let mut tx = self.pool.begin().await?;
        if !store::fee_schedule::insert(&mut tx, merchant_id, &schedule, self.clock.now(), &guard).await? {
            let (schedule, fingerprint) = store::fee_schedule::by_key(&mut tx, merchant_id, &guard.key)
                .await?
                .ok_or(FeeScheduleError::RowVanished)?;
            if !guard.matches(&fingerprint) {
                return Err(FeeScheduleError::KeyReused(guard));
            }
            return Ok(schedule);
        }
        tx.commit().await?;
        Ok(schedule)
    }

    /// The schedules in force.
    pub(crate) async fn fee_schedules(
        &self,
        merchant_id: MerchantId,
    ) -> Result<Vec<FeeSchedule>, FeeScheduleError> {
        Ok(store::fee_schedule::in_force(&self.pool, merchant_id).await?)
    }
}
