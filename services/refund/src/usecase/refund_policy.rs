//! Setting and reading a merchant's policy.

use sqlx::PgPool;
use tael_clock::Clock;
use tael_idempotency::IdempotencyKey;
use tael_ids::MerchantId;

use crate::domain::RefundPolicy;
use crate::store;

/// The policies of all merchants. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct RefundPolicies {
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
}

/// Why a use case did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefundPolicyError {
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

impl RefundPolicies {
    /// Sets a merchant's policy from now on. A repeated call returns what it set, and does not set it again: another
    /// policy may be in force by now.
    pub(crate) async fn set(
        &self,
        merchant_id: MerchantId,
        policy: RefundPolicy,
        key: IdempotencyKey,
    ) -> Result<RefundPolicy, RefundPolicyError> {
        if store::refund_policy::insert(&self.pool, merchant_id, &policy, &key, self.clock.now()).await? {
            return Ok(policy);
        }
        let stored = store::refund_policy::by_key(&self.pool, merchant_id, &key.key).await?;
        let (policy, fingerprint) = stored.ok_or(RefundPolicyError::RowVanished)?;
        if !key.matches(&fingerprint) {
            return Err(RefundPolicyError::KeyReused(key));
        }
        Ok(policy)
    }

    /// Returns the policy in force, or the default one.
    pub(crate) async fn get(&self, merchant_id: MerchantId) -> Result<RefundPolicy, RefundPolicyError> {
        Ok(store::refund_policy::current(&self.pool, merchant_id).await?.unwrap_or_default())
    }
}
