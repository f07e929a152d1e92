//! Registering, disabling and enabling webhook endpoints.

use secrecy::SecretString;
use sqlx::PgConnection;
use tael_idempotency::IdempotencyKey;
use tael_ids::{EventId, MerchantId, WebhookEndpointId};
use tael_sealed::{Keyring, OpenError};
use url::Url;
use uuid::Uuid;

use crate::body::{self, ENDPOINT_DISABLED};
use crate::domain::secret::{NoRandomness, SigningSecret};
use crate::domain::webhook_endpoint::{DisableReason, State, WebhookEndpoint, wants};
use crate::store;
use crate::store::outbox::NewDelivery;
use crate::usecase::Notifications;

/// Why an endpoint is not as it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebhookEndpointError {
    /// The merchant has no such endpoint.
    #[error("the merchant has no such webhook endpoint")]
    NotFound(WebhookEndpointId),
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used before")]
    KeyReused(IdempotencyKey),
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

type Result<T> = std::result::Result<T, WebhookEndpointError>;

impl Notifications {
    /// Registers an endpoint. The same call again gets the same endpoint and secret.
    pub(crate) async fn create_endpoint(
        &self,
        merchant_id: MerchantId,
        url: Url,
        event_types: Vec<String>,
        key: IdempotencyKey,
    ) -> Result<(WebhookEndpoint, SecretString)> {
        let secret = SigningSecret::generate()?;
        let endpoint = WebhookEndpoint {
            id: WebhookEndpointId::new(),
            merchant_id,
            url: url.into(),
            event_types,
            create_time: self.clock.now(),
            state: State::Active,
            failures: 0,
        };
        let sealed = self.keyring.seal(secret.bytes(), &sealing_context(endpoint.id));
        if store::webhook_endpoint::insert(&self.pool, &endpoint, &sealed, &key).await? {
            return Ok((endpoint, secret.text()));
        }
        let created = store::webhook_endpoint::by_key(&self.pool, merchant_id, &key.key)
            .await?
            .ok_or(WebhookEndpointError::RowVanished)?;
        if !key.matches(&created.fingerprint) {
            return Err(WebhookEndpointError::KeyReused(key));
        }
        let secret = open_secret(&self.keyring, created.endpoint.id, &created.sealed_secret)?;
        Ok((created.endpoint, secret.text()))
    }

    /// Returns a merchant's endpoints, newest first.
    pub(crate) async fn list_endpoints(
        &self,
        merchant_id: MerchantId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<WebhookEndpoint>> {
        Ok(store::webhook_endpoint::list(&self.pool, merchant_id, after, limit).await?)
    }

    /// Disables an endpoint, and tells the merchant's other ones; a disabled one stays as it is.
    pub(crate) async fn disable_endpoint(
        &self,
        merchant_id: MerchantId,
        id: WebhookEndpointId,
        reason: DisableReason,
    ) -> Result<WebhookEndpoint> {
        let mut tx = self.pool.begin().await?;
        let now = self.clock.now();
        store::webhook_endpoint::lock(&mut tx, merchant_id).await?;
        let disabled = store::webhook_endpoint::disable(&mut tx, merchant_id, id, reason, now).await?;
        let Some(endpoint) = disabled else { return self.endpoint(&mut tx, merchant_id, id).await };
        let others = store::webhook_endpoint::active(&mut tx, &[merchant_id.uuid()]).await?;
        let (event_id, body) = (EventId::new(), body::endpoint_disabled(&endpoint, reason, now));
        let told: Vec<_> = others
            .iter()
            .filter(|other| wants(&other.event_types, ENDPOINT_DISABLED))
            .map(|other| NewDelivery {
                merchant_id,
                endpoint_id: other.id,
                event_id,
                event_type: ENDPOINT_DISABLED,
                body: body.clone(),
                traceparent: tael_telemetry::current_traceparent().unwrap_or_default(),
            })
            .collect();
        if !told.is_empty() {
            store::outbox::insert(&mut tx, told, now).await?;
        }
        tx.commit().await?;
        self.due.notify_one();
        Ok(endpoint)
    }

    /// Enables an endpoint that is disabled, and ends the pause of one that is paused; an active one stays as it is.
    pub(crate) async fn enable_endpoint(
        &self,
        merchant_id: MerchantId,
        id: WebhookEndpointId,
    ) -> Result<WebhookEndpoint> {
        let mut tx = self.pool.begin().await?;
        let endpoint =
            match store::webhook_endpoint::enable(&mut tx, merchant_id, id, self.clock.now()).await? {
                Some(endpoint) => endpoint,
                None => self.endpoint(&mut tx, merchant_id, id).await?,
            };
        tx.commit().await?;
        self.due.notify_one();
        Ok(endpoint)
    }

    async fn endpoint(
        &self,
        conn: &mut PgConnection,
        merchant_id: MerchantId,
        id: WebhookEndpointId,
    ) -> Result<WebhookEndpoint> {
        let endpoint = store::webhook_endpoint::get(conn, merchant_id, id).await?;
        endpoint.ok_or(WebhookEndpointError::NotFound(id))
    }
}

/// Opens an endpoint's signing secret.
pub(crate) fn open_secret(
    keyring: &Keyring,
    id: WebhookEndpointId,
    sealed: &[u8],
) -> std::result::Result<SigningSecret, OpenError> {
    keyring.open(sealed, &sealing_context(id)).map(SigningSecret::from_bytes)
}

/// The one place where a secret opens.
fn sealing_context(id: WebhookEndpointId) -> Vec<u8> {
    format!("notification.webhook_endpoint:{}", id.uuid()).into_bytes()
}
