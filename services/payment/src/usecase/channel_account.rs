//! Channel accounts.

use jiff::Timestamp;
use secrecy::zeroize::Zeroizing;
use serde_json::Value;
use tael_idempotency::IdempotencyKey;
use tael_ids::{AttemptId, ChannelAccountId, ChannelCredentialId, MerchantId};
use uuid::Uuid;

use super::{Internal, Payments};
use crate::domain::channel_account::{AccountState, ChannelAccount, ChannelName};
use crate::store;
use crate::store::channel_account::Credential;

/// Why a use case of channel accounts did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChannelAccountError {
    #[error("the merchant has no channel account {0}")]
    NotFound(ChannelAccountId),
    #[error("the keys of channel account {0} were not tested")]
    NotTested(ChannelAccountId),
    #[error("the channel account has no keys {0} in use")]
    CredentialNotFound(ChannelCredentialId),
    #[error("they are the channel account's last tested keys")]
    LastCredential(ChannelCredentialId),
    #[error("the keys are of another channel than the account")]
    OtherChannel,
    #[error("the idempotency key belongs to another request")]
    KeyReused(IdempotencyKey),
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// An account to be configured.
pub(crate) struct NewAccount {
    pub(crate) merchant_id: MerchantId,
    pub(crate) channel: ChannelName,
    pub(crate) label: String,
    /// As its adapter has checked it.
    pub(crate) identity: Value,
    /// The secrets, checked, as they are to be sealed.
    pub(crate) keys: Zeroizing<Vec<u8>>,
}

/// Keys to be added to an account.
pub(crate) struct NewCredential {
    pub(crate) merchant_id: MerchantId,
    pub(crate) account_id: ChannelAccountId,
    pub(crate) channel: ChannelName,
    pub(crate) keys: Zeroizing<Vec<u8>>,
    pub(crate) expire_time: Option<Timestamp>,
}

/// An account with what is known of its keys, newest first.
pub(crate) struct AccountWithCredentials {
    pub(crate) account: ChannelAccount,
    pub(crate) credentials: Vec<Credential>,
}

impl Payments {
    /// Configures an account, as a draft: it takes payments when it was tested and activated.
    #[tracing::instrument(name = "channel_account.create", skip_all)]
    pub(crate) async fn create_account(
        &self,
        new: NewAccount,
        guard: IdempotencyKey,
    ) -> Result<AccountWithCredentials, ChannelAccountError> {
        let account = ChannelAccount {
            merchant_id: new.merchant_id,
            id: ChannelAccountId::new(),
            channel: new.channel,
            label: new.label,
            identity: new.identity,
            state: AccountState::Draft,
            create_time: self.clock.now(),
        };
        let first = ChannelCredentialId::from_uuid(account.id.uuid());
        let sealed = self.accounts.seal(account.merchant_id, account.id, first, &new.keys);
        if store::channel_account::insert(&self.pool, &account, &sealed, &guard).await? {
            return self.with_credentials(account).await;
        }
        let (existing, fingerprint) =
            store::channel_account::by_key(&self.pool, account.merchant_id, &guard.key)
                .await?
                .ok_or(Internal::RowVanished)?;
        if fingerprint != guard.fingerprint {
            return Err(ChannelAccountError::KeyReused(guard));
        }
        self.with_credentials(existing).await
    }

    pub(crate) async fn account(
        &self,
        merchant_id: MerchantId,
        id: ChannelAccountId,
    ) -> Result<AccountWithCredentials, ChannelAccountError> {
        let account = store::channel_account::get(&self.pool, merchant_id, id)
            .await?
            .ok_or(ChannelAccountError::NotFound(id))?;
        self.with_credentials(account).await
    }

    pub(crate) async fn accounts(
        &self,
        merchant_id: MerchantId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<AccountWithCredentials>, ChannelAccountError> {
        let accounts = store::channel_account::list(&self.pool, merchant_id, after, limit).await?;
        let ids: Vec<Uuid> = accounts.iter().map(|account| account.id.uuid()).collect();
        let all = store::channel_account::credentials(&self.pool, merchant_id, &ids).await?;
        let of = |id| all.iter().filter(|credential| credential.account_id == id).copied().collect();
        Ok(accounts
            .into_iter()
            .map(|account| AccountWithCredentials { credentials: of(account.id), account })
            .collect())
    }

    /// Makes a harmless signed call with one of the account's credentials, the newest when none is named. Says what stands
    /// in the way; nothing does when it passed, and that is recorded.
    #[tracing::instrument(name = "channel_account.test", skip_all)]
    pub(crate) async fn test_account(
        &self,
        merchant_id: MerchantId,
        id: ChannelAccountId,
        credential_id: Option<ChannelCredentialId>,
    ) -> Result<(AccountWithCredentials, Option<String>), ChannelAccountError> {
        let account = self.account(merchant_id, id).await?;
        let in_use = account.credentials.iter().filter(|credential| credential.retire_time.is_none());
        let chosen = in_use
            .map(|credential| credential.id)
            .find(|known| credential_id.is_none_or(|wanted| wanted == *known))
            .ok_or_else(|| {
                let first = ChannelCredentialId::from_uuid(id.uuid());
                ChannelAccountError::CredentialNotFound(credential_id.unwrap_or(first))
            })?;
        let open = self
            .accounts
            .open_with(id, chosen)
            .await
            .map_err(|error| Internal::from(std::sync::Arc::new(error)))?;
        // A number that nobody has.
        if let Err(problem) = open.channel.test(&AttemptId::new().channel_number()).await {
            return Ok((account, Some(problem)));
        }
        store::channel_account::tested(&self.pool, merchant_id, id, chosen, self.clock.now()).await?;
        self.accounts.forget(id).await;
        Ok((self.account(merchant_id, id).await?, None))
    }

    #[tracing::instrument(name = "channel_account.activate", skip_all)]
    pub(crate) async fn activate_account(
        &self,
        merchant_id: MerchantId,
        id: ChannelAccountId,
    ) -> Result<AccountWithCredentials, ChannelAccountError> {
        if !store::channel_account::set_state(&self.pool, merchant_id, id, AccountState::Active).await? {
            self.account(merchant_id, id).await?;
            return Err(ChannelAccountError::NotTested(id));
        }
        self.account(merchant_id, id).await
    }

    #[tracing::instrument(name = "channel_account.disable", skip_all)]
    pub(crate) async fn disable_account(
        &self,
        merchant_id: MerchantId,
        id: ChannelAccountId,
    ) -> Result<AccountWithCredentials, ChannelAccountError> {
        store::channel_account::set_state(&self.pool, merchant_id, id, AccountState::Disabled).await?;
        self.account(merchant_id, id).await
    }

    /// Adds keys. They verify at once, and sign as soon as they are tested.
    #[tracing::instrument(name = "channel_account.add_credential", skip_all)]
    pub(crate) async fn add_credential(
        &self,
        new: NewCredential,
        guard: IdempotencyKey,
    ) -> Result<(AccountWithCredentials, ChannelCredentialId), ChannelAccountError> {
        let NewCredential { merchant_id, account_id, .. } = new;
        let account = self.account(merchant_id, account_id).await?.account;
        if account.channel != new.channel {
            return Err(ChannelAccountError::OtherChannel);
        }
        let credential = Credential {
            account_id,
            id: ChannelCredentialId::new(),
            create_time: self.clock.now(),
            expire_time: new.expire_time,
            test_time: None,
            retire_time: None,
        };
        let sealed = self.accounts.seal(merchant_id, account_id, credential.id, &new.keys);
        let mut id = credential.id;
        if !store::channel_account::insert_credential(&self.pool, merchant_id, &credential, &sealed, &guard)
            .await?
        {
            let (existing, fingerprint) =
                store::channel_account::credential_by_key(&self.pool, merchant_id, &guard.key)
                    .await?
                    .ok_or(Internal::RowVanished)?;
            if fingerprint != guard.fingerprint {
                return Err(ChannelAccountError::KeyReused(guard));
            }
            id = existing;
        }
        self.accounts.forget(account_id).await;
        Ok((self.account(merchant_id, account_id).await?, id))
    }

    /// Ends the use of keys, if other tested ones are left.
    #[tracing::instrument(name = "channel_account.retire_credential", skip_all)]
    pub(crate) async fn retire_credential(
        &self,
        merchant_id: MerchantId,
        id: ChannelAccountId,
        credential_id: ChannelCredentialId,
    ) -> Result<AccountWithCredentials, ChannelAccountError> {
        let account = self.account(merchant_id, id).await?;
        match account.credentials.iter().find(|credential| credential.id == credential_id) {
            None => return Err(ChannelAccountError::CredentialNotFound(credential_id)),
            Some(credential) if credential.retire_time.is_some() => return Ok(account),
            Some(_) => {}
        }
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        if !store::channel_account::retire(&mut tx, merchant_id, id, credential_id, now).await? {
            return Err(ChannelAccountError::LastCredential(credential_id));
        }
        tx.commit().await?;
        self.accounts.forget(id).await;
        self.account(merchant_id, id).await
    }

    async fn with_credentials(
        &self,
        account: ChannelAccount,
    ) -> Result<AccountWithCredentials, ChannelAccountError> {
        let ids = [account.id.uuid()];
        let credentials = store::channel_account::credentials(&self.pool, account.merchant_id, &ids).await?;
        Ok(AccountWithCredentials { account, credentials })
    }
}
