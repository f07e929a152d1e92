//! API keys: issued, shown, exchanged for tokens, revoked.

use std::collections::BTreeSet;

use sqlx::PgPool;
use tael_clock::Clock;
use tael_idempotency::IdempotencyKey;
use tael_ids::{ApiKeyId, MerchantId};
use tael_principal::{Issuer, Kind, Principal, Token, TokenError};

use crate::domain::api_key::{ApiKey, NoRandomness, Secret};
use crate::domain::merchant::Merchant;
use crate::store;

/// The API keys of all merchants. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ApiKeys {
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) issuer: Issuer,
}

/// Why a use case did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiKeyError {
    #[error("there is no merchant {0}")]
    MerchantNotFound(MerchantId),
    #[error("the merchant has no API key {0}")]
    NotFound(ApiKeyId),
    #[error("the API key is not valid")]
    Invalid,
    #[error("the idempotency key belongs to another request")]
    KeyReused(IdempotencyKey),
    #[error("a row that was just seen is gone")]
    RowVanished,
    #[error("no token could be signed")]
    Token(#[from] TokenError),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl ApiKeys {
    /// Issues a key. A repeated call gets the key without its secret, which nobody knows any more.
    pub(crate) async fn issue(
        &self,
        merchant_id: MerchantId,
        label: String,
        idempotency_key: IdempotencyKey,
    ) -> Result<(ApiKey, Option<Secret>), ApiKeyError> {
        let secret = Secret::generate()?;
        let key = ApiKey {
            id: ApiKeyId::new(),
            merchant_id,
            label,
            create_time: self.clock.now(),
            revoke_time: None,
        };
        let mut tx = self.pool.begin().await?;
        let merchant = store::merchant::lock(&mut tx, merchant_id).await?;
        merchant.ok_or(ApiKeyError::MerchantNotFound(merchant_id))?;
        if !store::api_key::insert(&mut tx, &key, &secret.hash(), &idempotency_key).await? {
            let issued = store::api_key::by_key(&mut tx, merchant_id, &idempotency_key.key).await?;
            let (key, fingerprint) = issued.ok_or(ApiKeyError::RowVanished)?;
            if !idempotency_key.matches(&fingerprint) {
                return Err(ApiKeyError::KeyReused(idempotency_key));
            }
            return Ok((key, None));
        }
        tx.commit().await?;
        Ok((key, Some(secret)))
    }

    /// Says whose key a secret is.
    pub(crate) async fn authenticate(&self, secret: Secret) -> Result<(Merchant, ApiKeyId), ApiKeyError> {
        let key = store::api_key::valid(&self.pool, &secret.hash()).await?.ok_or(ApiKeyError::Invalid)?;
        let merchant = store::merchant::get(&self.pool, key.merchant_id).await?;
        Ok((merchant.ok_or(ApiKeyError::RowVanished)?, key.id))
    }

    /// Gives a token for a secret: whoever has it acts as the key, for its merchant, until it ends.
    pub(crate) async fn exchange(&self, secret: Secret) -> Result<(ApiKey, Token), ApiKeyError> {
        let key = store::api_key::valid(&self.pool, &secret.hash()).await?.ok_or(ApiKeyError::Invalid)?;
        let token = self.issuer.issue(&Principal {
            subject: key.id.to_string(),
            kind: Kind::ApiKey,
            merchant: Some(key.merchant_id),
            roles: BTreeSet::new(),
            scopes: BTreeSet::new(),
        })?;
        Ok((key, token))
    }

    /// Ends a key. Revoking a revoked key changes nothing.
    pub(crate) async fn revoke(&self, merchant_id: MerchantId, id: ApiKeyId) -> Result<ApiKey, ApiKeyError> {
        let revoked = store::api_key::revoke(&self.pool, merchant_id, id, self.clock.now()).await?;
        revoked.ok_or(ApiKeyError::NotFound(id))
    }
}
