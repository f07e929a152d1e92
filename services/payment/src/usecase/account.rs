//! Channel accounts.

use tael_idempotency::IdempotencyKey;
use tael_ids::{ChannelAccountId, MerchantId};
use uuid::Uuid;

use super::{Error, Payments};
use crate::domain::account::{ChannelAccount, Identity};
use crate::store;

/// An account to be configured.
pub(crate) struct NewAccount {
    pub(crate) merchant_id: MerchantId,
    pub(crate) label: String,
    pub(crate) identity: Identity,
    /// The secrets, checked, as they are to be sealed.
    pub(crate) keys: secrecy::zeroize::Zeroizing<Vec<u8>>,
}

impl Payments {
    #[tracing::instrument(name = "channel_account.create", skip_all)]
    pub(crate) async fn create_account(
        &self,
        new: NewAccount,
        guard: IdempotencyKey,
    ) -> Result<ChannelAccount, Error> {
        let account = ChannelAccount {
            merchant_id: new.merchant_id,
            id: ChannelAccountId::new(),
            label: new.label,
            identity: new.identity,
            create_time: self.clock.now(),
        };
        let sealed = self.accounts.seal(account.merchant_id, account.id, &new.keys);
        if store::account::insert(&self.pool, &account, &sealed, &guard).await? {
            return Ok(account);
        }
        let (existing, fingerprint) = store::account::by_key(&self.pool, account.merchant_id, &guard.key)
            .await?
            .ok_or(Error::RowVanished)?;
        guard.check(&fingerprint).map_err(Error::KeyReused)?;
        Ok(existing)
    }

    pub(crate) async fn account(
        &self,
        merchant_id: MerchantId,
        id: ChannelAccountId,
    ) -> Result<ChannelAccount, Error> {
        store::account::get(&self.pool, merchant_id, id).await?.ok_or(Error::ChannelAccountNotFound(id))
    }

    pub(crate) async fn accounts(
        &self,
        merchant_id: MerchantId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<ChannelAccount>, Error> {
        Ok(store::account::list(&self.pool, merchant_id, after, limit).await?)
    }
}
