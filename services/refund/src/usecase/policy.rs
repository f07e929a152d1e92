//! Setting and reading a merchant's policy.

use tael_idempotency::IdempotencyKey;
use tael_ids::MerchantId;

use super::{Error, Refunds, check_key};
use crate::domain::Policy;
use crate::store;

impl Refunds {
    /// Sets a merchant's policy from now on. A repeated call returns what it set, and does not set it again: another
    /// policy may be in force by now.
    pub(crate) async fn set_policy(
        &self,
        merchant_id: MerchantId,
        policy: Policy,
        guard: IdempotencyKey,
    ) -> Result<Policy, Error> {
        if store::policy::insert(&self.pool, merchant_id, &policy, &guard, self.clock.now()).await? {
            return Ok(policy);
        }
        let (policy, fingerprint) =
            store::policy::by_key(&self.pool, merchant_id, &guard.key).await?.ok_or(Error::RowVanished)?;
        check_key(&guard, &fingerprint)?;
        Ok(policy)
    }

    /// Returns the policy in force, or the default one.
    pub(crate) async fn policy(&self, merchant_id: MerchantId) -> Result<Policy, Error> {
        Ok(store::policy::current(&self.pool, merchant_id).await?.unwrap_or_default())
    }
}
