//! Merchants: registered, approved, read.

use sqlx::PgPool;
use tael_clock::Clock;
use tael_eventlog::EventLog;
use tael_idempotency::IdempotencyKey;
use tael_ids::MerchantId;
use uuid::Uuid;

use crate::domain::merchant::{Merchant, State, Transition};
use crate::{events, store};

/// All merchants. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Merchants {
    pub(crate) pool: PgPool,
    pub(crate) log: EventLog,
    pub(crate) clock: Clock,
}

/// Why a use case did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MerchantError {
    #[error("there is no merchant {0}")]
    NotFound(MerchantId),
    #[error("the idempotency key belongs to another request")]
    KeyReused(IdempotencyKey),
    #[error("a row that was just seen is gone")]
    RowVanished,
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Merchants {
    /// Registers a merchant, who awaits approval.
    pub(crate) async fn register(
        &self,
        name: String,
        time_zone: String,
        key: IdempotencyKey,
    ) -> Result<Merchant, MerchantError> {
        let merchant = Merchant {
            id: MerchantId::new(),
            name,
            state: State::PendingApproval,
            time_zone,
            create_time: self.clock.now(),
        };
        let mut tx = self.pool.begin().await?;
        if !store::merchant::insert(&mut tx, &merchant, &key).await? {
            let (merchant, fingerprint) =
                store::merchant::by_key(&mut tx, &key.key).await?.ok_or(MerchantError::RowVanished)?;
            if !key.matches(&fingerprint) {
                return Err(MerchantError::KeyReused(key));
            }
            return Ok(merchant);
        }
        self.log.append(&mut tx, &[events::registered(&merchant)]).await?;
        tx.commit().await?;
        self.log.wake();
        Ok(merchant)
    }

    /// Lets a merchant take live money. Approving an approved merchant changes nothing.
    pub(crate) async fn approve(&self, id: MerchantId) -> Result<Merchant, MerchantError> {
        let mut tx = self.pool.begin().await?;
        let mut merchant = store::merchant::lock(&mut tx, id).await?.ok_or(MerchantError::NotFound(id))?;
        let now = self.clock.now();
        match merchant.state.approve(now) {
            Transition::AlreadyDone => return Ok(merchant),
            Transition::To(state) => merchant.state = state,
        }
        if !store::merchant::approve(&mut tx, id, now).await? {
            return Err(MerchantError::RowVanished);
        }
        self.log.append(&mut tx, &[events::approved(&merchant, now)]).await?;
        tx.commit().await?;
        self.log.wake();
        Ok(merchant)
    }

    /// Returns a merchant.
    pub(crate) async fn get(&self, id: MerchantId) -> Result<Merchant, MerchantError> {
        store::merchant::get(&self.pool, id).await?.ok_or(MerchantError::NotFound(id))
    }

    /// Returns merchants, newest first.
    pub(crate) async fn list(&self, after: Option<Uuid>, limit: i64) -> Result<Vec<Merchant>, MerchantError> {
        Ok(store::merchant::list(&self.pool, after, limit).await?)
    }
}
