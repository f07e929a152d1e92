//! Channel accounts.

use tael_idempotency::IdempotencyKey;
use tael_ids::{ChannelAccountId, MerchantId};
use uuid::Uuid;

use super::{Internal, Payments};
use crate::domain::channel_account::{ChannelAccount, Identity};
use crate::store;

/// Why a use case of channel accounts did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelAccountError {
    #[error("the merchant has no channel account {0}")]
    NotFound(ChannelAccountId),
    #[error("the idempotency key belongs to another request")]
    KeyReused(IdempotencyKey),
    #[error(transparent)]
    Internal(#[from] Internal),
}

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
    ) -> Result<ChannelAccount, ChannelAccountError> {
        let account = ChannelAccount {
            merchant_id: new.merchant_id,
            id: ChannelAccountId::new(),
            label: new.label,
            identity: new.identity,
            create_time: self.clock.now(),
        };
        let sealed = self.accounts.seal(account.merchant_id, account.id, &new.keys);
        if store::channel_account::insert(&self.pool, &account, &sealed, &guard).await? {
            return Ok(account);
        }
        let (existing, fingerprint) =
            store::channel_account::by_key(&self.pool, account.merchant_id, &guard.key)
                .await?
                .ok_or(Internal::RowVanished)?;
        if guard.matches(&fingerprint) { Ok(existing) } else { Err(ChannelAccountError::KeyReused(guard)) }
    }

    pub(crate) async fn account(
        &self,
        merchant_id: MerchantId,
        id: ChannelAccountId,
    ) -> Result<ChannelAccount, ChannelAccountError> {
        store::channel_account::get(&self.pool, merchant_id, id)
            .await?
            .ok_or(ChannelAccountError::NotFound(id))
    }

    pub(crate) async fn accounts(
        &self,
        merchant_id: MerchantId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<ChannelAccount>, ChannelAccountError> {
        Ok(store::channel_account::list(&self.pool, merchant_id, after, limit).await?)
    }
}
