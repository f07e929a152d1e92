//! One function per use case; the only place that opens transactions.

use sqlx::PgPool;
use tael_clock::Clock;
use tael_eventlog::{EventLog, NewEvent};
use tael_idempotency::IdempotencyKey;
use tael_ids::{ApiKeyId, MerchantId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{MerchantApproved, MerchantRegistered};
use tonic::Status;
use uuid::Uuid;

use crate::domain::api_key::{ApiKey, NoRandomness, Secret};
use crate::domain::merchant::{Merchant, State, Transition};
use crate::store;

/// The use cases and what they need.
#[derive(Clone, Debug)]
pub(crate) struct Merchants {
    pool: PgPool,
    log: EventLog,
    clock: Clock,
}

/// Why a use case did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no merchant {0}")]
    MerchantNotFound(MerchantId),
    #[error("the merchant has no API key {0}")]
    ApiKeyNotFound(ApiKeyId),
    #[error("the API key is not valid")]
    ApiKeyInvalid,
    #[error("the idempotency key belongs to another request")]
    KeyReused(Status),
    #[error("a row that was just seen is gone")]
    RowVanished,
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Merchants {
    pub(crate) fn new(pool: PgPool, log: EventLog, clock: Clock) -> Self {
        Self { pool, log, clock }
    }

    pub(crate) async fn register(
        &self,
        name: String,
        time_zone: String,
        guard: IdempotencyKey,
    ) -> Result<Merchant, Error> {
        let merchant = Merchant {
            id: MerchantId::new(),
            name,
            state: State::PendingApproval,
            time_zone,
            create_time: self.clock.now(),
        };
        let mut tx = self.pool.begin().await?;
        if !store::insert_merchant(&mut tx, &merchant, &guard).await? {
            let (merchant, fingerprint) =
                store::merchant_by_key(&mut tx, &guard.key).await?.ok_or(Error::RowVanished)?;
            guard.check(&fingerprint).map_err(Error::KeyReused)?;
            return Ok(merchant);
        }
        let registered =
            MerchantRegistered { merchant_id: merchant.id.to_string(), name: merchant.name.clone() };
        self.append(&mut tx, &merchant, Kind::MerchantRegistered(registered)).await?;
        tx.commit().await?;
        self.log.wake();
        Ok(merchant)
    }

    pub(crate) async fn approve(&self, id: MerchantId) -> Result<Merchant, Error> {
        let mut tx = self.pool.begin().await?;
        let mut merchant = store::lock_merchant(&mut tx, id).await?.ok_or(Error::MerchantNotFound(id))?;
        let now = self.clock.now();
        match merchant.state.approve(now) {
            Transition::AlreadyDone => return Ok(merchant),
            Transition::To(state) => merchant.state = state,
        }
        if !store::approve_merchant(&mut tx, id, now).await? {
            return Err(Error::RowVanished);
        }
        self.append(
            &mut tx,
            &merchant,
            Kind::MerchantApproved(MerchantApproved { merchant_id: id.to_string() }),
        )
        .await?;
        tx.commit().await?;
        self.log.wake();
        Ok(merchant)
    }

    pub(crate) async fn get(&self, id: MerchantId) -> Result<Merchant, Error> {
        store::merchant(&self.pool, id).await?.ok_or(Error::MerchantNotFound(id))
    }

    pub(crate) async fn list(&self, after: Option<Uuid>, limit: i64) -> Result<Vec<Merchant>, Error> {
        Ok(store::merchants(&self.pool, after, limit).await?)
    }

    /// Issues a key. A repeated call gets the key without its secret, which nobody knows any more.
    pub(crate) async fn issue_api_key(
        &self,
        merchant_id: MerchantId,
        label: String,
        guard: IdempotencyKey,
    ) -> Result<(ApiKey, Option<Secret>), Error> {
        let secret = Secret::generate()?;
        let key = ApiKey {
            id: ApiKeyId::new(),
            merchant_id,
            label,
            create_time: self.clock.now(),
            revoke_time: None,
        };
        let mut tx = self.pool.begin().await?;
        store::lock_merchant(&mut tx, merchant_id).await?.ok_or(Error::MerchantNotFound(merchant_id))?;
        if !store::insert_api_key(&mut tx, &key, &secret.hash(), &guard).await? {
            let (key, fingerprint) =
                store::api_key_by_key(&mut tx, merchant_id, &guard.key).await?.ok_or(Error::RowVanished)?;
            guard.check(&fingerprint).map_err(Error::KeyReused)?;
            return Ok((key, None));
        }
        tx.commit().await?;
        Ok((key, Some(secret)))
    }

    pub(crate) async fn authenticate(&self, secret: Secret) -> Result<(Merchant, ApiKeyId), Error> {
        let key = store::valid_api_key(&self.pool, &secret.hash()).await?.ok_or(Error::ApiKeyInvalid)?;
        let merchant = store::merchant(&self.pool, key.merchant_id).await?.ok_or(Error::RowVanished)?;
        Ok((merchant, key.id))
    }

    pub(crate) async fn revoke_api_key(
        &self,
        merchant_id: MerchantId,
        id: ApiKeyId,
    ) -> Result<ApiKey, Error> {
        store::revoke_api_key(&self.pool, merchant_id, id, self.clock.now())
            .await?
            .ok_or(Error::ApiKeyNotFound(id))
    }

    async fn append(
        &self,
        tx: &mut sqlx::PgConnection,
        merchant: &Merchant,
        kind: Kind,
    ) -> Result<(), sqlx::Error> {
        let event = NewEvent {
            merchant_id: merchant.id,
            aggregate_id: merchant.id.to_string(),
            kind,
            occur_time: self.clock.now(),
            traceparent: None,
        };
        self.log.append(tx, &[event]).await
    }
}
