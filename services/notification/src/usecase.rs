//! What the service does: one method per use case. Only here and in the handlers of logs are transactions opened.

use std::sync::Arc;

use secrecy::SecretString;
use sqlx::PgPool;
use tael_clock::Clock;
use tael_idempotency::IdempotencyKey;
use tael_ids::{DeliveryId, MerchantId, WebhookEndpointId};
use tael_sealed::{Keyring, OpenError};
use tokio::sync::Notify;
use tonic::Status;
use url::Url;
use uuid::Uuid;

use crate::domain::delivery::Delivery;
use crate::domain::endpoint::Endpoint;
use crate::domain::secret::{NoRandomness, SigningSecret};
use crate::store;

/// The endpoints and deliveries of all merchants. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Notifications {
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) keyring: Arc<Keyring>,
    /// Wakes the worker.
    pub(crate) due: Arc<Notify>,
}

/// Why a use case did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The merchant has no such endpoint.
    #[error("the merchant has no such webhook endpoint")]
    EndpointNotFound(WebhookEndpointId),
    /// The merchant has no such delivery.
    #[error("the merchant has no such delivery")]
    DeliveryNotFound(DeliveryId),
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used before")]
    KeyReused(Status),
    /// A signing secret does not open.
    #[error("a signing secret does not open")]
    Secret(#[from] OpenError),
    /// No secret could be made.
    #[error("no secret could be made")]
    Randomness(#[from] NoRandomness),
    /// A row that must be there is not.
    #[error("a row vanished")]
    RowVanished,
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Notifications {
    /// Registers an endpoint. The same call again gets the same endpoint and secret.
    pub(crate) async fn create_endpoint(
        &self,
        merchant_id: MerchantId,
        url: Url,
        event_types: Vec<String>,
        guard: IdempotencyKey,
    ) -> Result<(Endpoint, SecretString), Error> {
        let secret = SigningSecret::generate()?;
        let endpoint = Endpoint {
            id: WebhookEndpointId::new(),
            merchant_id,
            url: url.into(),
            event_types,
            create_time: self.clock.now(),
            disable_time: None,
        };
        let sealed = self.keyring.seal(secret.bytes(), &sealing_context(endpoint.id));
        if store::endpoint::insert(&self.pool, &endpoint, &sealed, &guard).await? {
            return Ok((endpoint, secret.text()));
        }
        let created =
            store::endpoint::by_key(&self.pool, merchant_id, &guard.key).await?.ok_or(Error::RowVanished)?;
        guard.check(&created.fingerprint).map_err(Error::KeyReused)?;
        let secret = open_secret(&self.keyring, created.endpoint.id, &created.sealed_secret)?;
        Ok((created.endpoint, secret.text()))
    }

    /// Returns a merchant's endpoints, newest first.
    pub(crate) async fn list_endpoints(
        &self,
        merchant_id: MerchantId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Endpoint>, Error> {
        Ok(store::endpoint::list(&self.pool, merchant_id, after, limit).await?)
    }

    /// Disables an endpoint; a disabled one stays as it is.
    pub(crate) async fn disable_endpoint(
        &self,
        merchant_id: MerchantId,
        id: WebhookEndpointId,
    ) -> Result<Endpoint, Error> {
        let mut tx = self.pool.begin().await?;
        let endpoint = store::endpoint::disable(&mut tx, merchant_id, id, self.clock.now())
            .await?
            .ok_or(Error::EndpointNotFound(id))?;
        tx.commit().await?;
        Ok(endpoint)
    }

    /// Returns a delivery.
    pub(crate) async fn delivery(&self, merchant_id: MerchantId, id: DeliveryId) -> Result<Delivery, Error> {
        store::delivery::get(&self.pool, merchant_id, id).await?.ok_or(Error::DeliveryNotFound(id))
    }

    /// Returns a merchant's deliveries, newest first: those to one endpoint and in one state (as stored), if given.
    pub(crate) async fn list_deliveries(
        &self,
        merchant_id: MerchantId,
        endpoint_id: Option<WebhookEndpointId>,
        state: Option<&'static str>,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Delivery>, Error> {
        Ok(store::delivery::list(&self.pool, merchant_id, endpoint_id, state, after, limit).await?)
    }

    /// Sends a delivery again, whatever became of it. The same call again does not send it once more.
    pub(crate) async fn replay(
        &self,
        merchant_id: MerchantId,
        id: DeliveryId,
        guard: IdempotencyKey,
    ) -> Result<Delivery, Error> {
        let mut tx = self.pool.begin().await?;
        let now = self.clock.now();
        match store::delivery::note_replay(&mut tx, merchant_id, id, &guard, now).await? {
            None => return Err(Error::DeliveryNotFound(id)),
            Some(true) => store::delivery::replay(&mut tx, merchant_id, id, now).await?,
            Some(false) => {
                let fingerprint = store::delivery::replay_by_key(&mut tx, merchant_id, &guard.key)
                    .await?
                    .ok_or(Error::RowVanished)?;
                guard.check(&fingerprint).map_err(Error::KeyReused)?;
            }
        }
        tx.commit().await?;
        let delivery = self.delivery(merchant_id, id).await?;
        self.due.notify_one();
        Ok(delivery)
    }
}

/// Opens an endpoint's signing secret.
pub(crate) fn open_secret(
    keyring: &Keyring,
    id: WebhookEndpointId,
    sealed: &[u8],
) -> Result<SigningSecret, OpenError> {
    keyring.open(sealed, &sealing_context(id)).map(SigningSecret::from_bytes)
}

/// The one place where a secret opens.
fn sealing_context(id: WebhookEndpointId) -> Vec<u8> {
    format!("notification.webhook_endpoint:{}", id.uuid()).into_bytes()
}
