//! Opened channel accounts: keys unsealed and parsed once, kept in memory.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use secrecy::ExposeSecret as _;
use sqlx::PgPool;
use tael_clock::Clock;
use tael_ids::{ChannelAccountId, MerchantId};
use tael_sealed::Keyring;

use crate::channel::alipay::KeysError;
use crate::channel::{self, Adapter, Health};
use crate::domain::channel_account::ChannelAccount;
use crate::store;

/// So many accounts are kept open; an open one takes a few kilobytes.
const MAX_OPEN: u64 = 10_000;

/// Opens accounts. Cheap to clone; clones share what is open. Accounts never change, so none goes stale.
#[derive(Clone, Debug)]
pub(crate) struct Accounts {
    pool: PgPool,
    keyring: Arc<Keyring>,
    http: tael_egress::Client,
    clock: Clock,
    call_timeout: Duration,
    open: Cache<ChannelAccountId, Arc<OpenAccount>>,
}

/// An account with its adapter.
#[derive(Debug)]
pub(crate) struct OpenAccount {
    pub(crate) account: ChannelAccount,
    pub(crate) adapter: Arc<dyn Adapter>,
    /// Whether its channel is worth calling now.
    pub(crate) health: Health,
}

/// Why an account can't be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error("there is no channel account {0}")]
    NotFound(ChannelAccountId),
    #[error("the keys can't be unsealed")]
    Sealed(#[from] tael_sealed::OpenError),
    #[error("the keys can't be used")]
    Keys(#[from] KeysError),
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
        Self { pool, keyring, http, clock, call_timeout, open: Cache::new(MAX_OPEN) }
    }

    /// Seals keys for the row of one account.
    pub(crate) fn seal(&self, merchant_id: MerchantId, id: ChannelAccountId, keys: &[u8]) -> Vec<u8> {
        self.keyring.seal(keys, &context(merchant_id, id))
    }

    /// Returns an account ready for calls. Those who ask at once wait for one opening.
    pub(crate) async fn open(&self, id: ChannelAccountId) -> Result<Arc<OpenAccount>, Arc<OpenError>> {
        self.open.try_get_with(id, self.open_now(id)).await
    }

    async fn open_now(&self, id: ChannelAccountId) -> Result<Arc<OpenAccount>, OpenError> {
        let (account, sealed) =
            store::channel_account::with_keys(&self.pool, id).await?.ok_or(OpenError::NotFound(id))?;
        let keys = self.keyring.open(&sealed, &context(account.merchant_id, id))?;
        let health = Health::new(self.call_timeout, self.clock.clone());
        let adapter =
            channel::open(&account.identity, keys.expose_secret(), &self.http, &self.clock, &health)?;
        Ok(Arc::new(OpenAccount { account, adapter, health }))
    }
}

/// The place that keys are sealed for: they open in no other merchant's row, and in no other account's.
fn context(merchant_id: MerchantId, id: ChannelAccountId) -> Vec<u8> {
    format!("payment.channel_account.sealed_keys:{merchant_id}:{id}").into_bytes()
}
