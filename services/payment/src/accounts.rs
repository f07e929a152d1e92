//! Opened channel accounts: keys unsealed and parsed once, kept in memory for a while.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;
use sqlx::PgPool;
use tael_clock::Clock;
use tael_ids::{ChannelAccountId, ChannelCredentialId, MerchantId};
use tael_sealed::Keyring;

use crate::channel::{CannotOpen, Channel, Health, Opening, Registration, registration};
use crate::domain::channel_account::ChannelAccount;
use crate::store;
use crate::store::channel_account::SealedCredential;

/// So many accounts are kept open; an open one takes a few kilobytes.
const MAX_OPEN: u64 = 10_000;
/// For so long keys that were replaced are used all the same by who had opened the account before.
const OPEN_LIFE: Duration = Duration::from_secs(10);

/// Opens accounts. Cheap to clone; clones share what is open.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    pool: PgPool,
    keyring: Arc<Keyring>,
    http: tael_egress::Client,
    clock: Clock,
    call_timeout: Duration,
    open: Cache<ChannelAccountId, Arc<OpenAccount>>,
    /// Outlives the opening.
    health: Cache<ChannelAccountId, Health>,
}

/// An account with its adapter.
#[derive(Debug)]
pub(crate) struct OpenAccount {
    pub(crate) account: ChannelAccount,
    pub(crate) registration: &'static Registration,
    pub(crate) channel: Arc<dyn Channel>,
    /// Whether its channel is worth calling now.
    pub(crate) health: Health,
}

/// Why an account can't be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("there is no channel account {0}")]
    NotFound(ChannelAccountId),
    #[error("channel account {0} has no keys that can be used")]
    NoCredential(ChannelAccountId),
    #[error("this build has no adapter for the channel {0:?}")]
    UnknownChannel(String),
    #[error("the keys can't be unsealed")]
    Sealed(#[from] tael_sealed::OpenError),
    #[error("the account can't be opened")]
    CannotOpen(#[from] CannotOpen),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Accounts {
    /// Calls of the client that is given end within `call_timeout`.
    pub(crate) fn new(
        pool: PgPool,
        keyring: Arc<Keyring>,
        http: tael_egress::Client,
        clock: Clock,
        call_timeout: Duration,
    ) -> Self {
        let open = Cache::builder().max_capacity(MAX_OPEN).time_to_live(OPEN_LIFE).build();
        Self { pool, keyring, http, clock, call_timeout, open, health: Cache::new(MAX_OPEN) }
    }

    /// Seals keys for the row of one credential.
    pub(crate) fn seal(
        &self,
        merchant_id: MerchantId,
        id: ChannelAccountId,
        credential_id: ChannelCredentialId,
        keys: &[u8],
    ) -> Vec<u8> {
        self.keyring.seal(keys, &context(merchant_id, id, credential_id))
    }

    /// Returns an account ready for calls. Those who ask at once wait for one opening.
    pub(crate) async fn open(&self, id: ChannelAccountId) -> Result<Arc<OpenAccount>, Arc<OpenError>> {
        self.open.try_get_with(id, self.open_now(id)).await
    }

    /// Opens an account with one of its credentials and no other, as it is now.
    pub(crate) async fn open_with(
        &self,
        id: ChannelAccountId,
        credential_id: ChannelCredentialId,
    ) -> Result<OpenAccount, OpenError> {
        let (account, mut credentials) = self.read(id).await?;
        credentials.retain(|credential| credential.id == credential_id);
        self.build(account, &credentials).await
    }

    /// Lets the next who asks open the account anew.
    pub(crate) async fn forget(&self, id: ChannelAccountId) {
        self.open.invalidate(&id).await;
    }

    async fn open_now(&self, id: ChannelAccountId) -> Result<Arc<OpenAccount>, OpenError> {
        let (account, credentials) = self.read(id).await?;
        Ok(Arc::new(self.build(account, &credentials).await?))
    }

    async fn read(&self, id: ChannelAccountId) -> Result<(ChannelAccount, Vec<SealedCredential>), OpenError> {
        let account = store::channel_account::find(&self.pool, id).await?.ok_or(OpenError::NotFound(id))?;
        let now = self.clock.now();
        let credentials =
            store::channel_account::usable_credentials(&self.pool, account.merchant_id, id, now).await?;
        Ok((account, credentials))
    }

    async fn build(
        &self,
        account: ChannelAccount,
        credentials: &[SealedCredential],
    ) -> Result<OpenAccount, OpenError> {
        if credentials.is_empty() {
            return Err(OpenError::NoCredential(account.id));
        }
        let registration = registration(&account.channel)
            .ok_or_else(|| OpenError::UnknownChannel(account.channel.as_str().to_owned()))?;
        let mut keys = Vec::with_capacity(credentials.len());
        for credential in credentials {
            let context = context(account.merchant_id, account.id, credential.id);
            let opened = self.keyring.open(&credential.sealed_keys, &context)?;
            keys.push(Zeroizing::new(opened.expose_secret().to_vec()));
        }
        let new = Health::new(self.call_timeout, self.clock.clone());
        let health = self.health.get_with(account.id, std::future::ready(new)).await;
        let channel = (registration.open)(&Opening {
            identity: &account.identity,
            keys: &keys,
            http: &self.http,
            clock: &self.clock,
            health: &health,
        })?;
        Ok(OpenAccount { account, registration, channel, health })
    }
}

/// The place that keys are sealed for: they open in no other merchant's row, and in no other account's or credential's.
/// The first credential has its account's id, and its place the name it had when there was only one.
fn context(merchant_id: MerchantId, id: ChannelAccountId, credential_id: ChannelCredentialId) -> Vec<u8> {
    if credential_id.uuid() == id.uuid() {
        format!("payment.channel_account.sealed_keys:{merchant_id}:{id}").into_bytes()
    } else {
        format!("payment.channel_credential.sealed_keys:{merchant_id}:{id}:{credential_id}").into_bytes()
    }
}
