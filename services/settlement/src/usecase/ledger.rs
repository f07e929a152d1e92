//! Reading the ledger, and posting to it.

pub(crate) mod posting;

use tael_ids::{MerchantId, PaymentId};
use uuid::Uuid;

use super::Settlement;
use crate::domain::ledger::account::Account;
use crate::domain::ledger::transfer::Transfer;
use crate::store;
use crate::store::ledger::check::LedgerCheck;

/// Why the ledger could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LedgerError {
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Settlement {
    /// All of a merchant's accounts, by kind, channel and currency.
    pub(crate) async fn accounts(&self, merchant_id: MerchantId) -> Result<Vec<Account>, LedgerError> {
        let mut accounts = store::ledger::accounts::of_merchant(&self.pool, merchant_id).await?;
        accounts.sort_by_key(|account| (account.key.kind, account.key.channel, account.key.currency));
        Ok(accounts)
    }

    /// A page of a merchant's transfers, or of one payment's, newest first.
    pub(crate) async fn transfers(
        &self,
        merchant_id: MerchantId,
        payment_id: Option<PaymentId>,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Transfer>, LedgerError> {
        let transfers = match payment_id {
            Some(id) => {
                store::ledger::transfers::of_payment(&self.pool, merchant_id, id, after, limit).await?
            }
            None => store::ledger::transfers::of_merchant(&self.pool, merchant_id, after, limit).await?,
        };
        Ok(transfers)
    }

    /// Adds up the whole ledger.
    pub(crate) async fn check_ledger(&self) -> Result<LedgerCheck, LedgerError> {
        let mut tx = self.pool.begin().await?;
        let check = store::ledger::check::check(&mut tx).await?;
        tx.commit().await?;
        Ok(check)
    }
}
