//! Fee schedules.

use tael_idempotency::IdempotencyKey;
use tael_ids::MerchantId;

use super::{Error, Settlement};
use crate::domain::fees::FeeSchedule;
use crate::store;

impl Settlement {
    /// Puts a schedule in force for payments posted from now on.
    pub(crate) async fn set_fee_schedule(
        &self,
        merchant_id: MerchantId,
        schedule: FeeSchedule,
        guard: IdempotencyKey,
    ) -> Result<FeeSchedule, Error> {
        self.time_zone(merchant_id).await?; // only a merchant that exists has a schedule
        let mut tx = self.pool.begin().await?;
        if !store::fees::insert(&mut tx, merchant_id, &schedule, self.clock.now(), &guard).await? {
            let (schedule, fingerprint) =
                store::fees::by_key(&mut tx, merchant_id, &guard.key).await?.ok_or(Error::RowVanished)?;
            guard.check(&fingerprint).map_err(Error::KeyReused)?;
            return Ok(schedule);
        }
        tx.commit().await?;
        Ok(schedule)
    }

    /// The schedules in force.
    pub(crate) async fn fee_schedules(&self, merchant_id: MerchantId) -> Result<Vec<FeeSchedule>, Error> {
        Ok(store::fees::in_force(&self.pool, merchant_id).await?)
    }
}
