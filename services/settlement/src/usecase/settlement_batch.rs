//! Settlement batches and statements.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sqlx::PgConnection;
use tael_fault::crash_point;
use tael_idempotency::IdempotencyKey;
use tael_ids::{BatchId, MerchantId};
use tael_money::Currency;
use uuid::Uuid;

use super::Settlement;
use super::ledger::posting::{PostError, ensure_accounts, post};
use crate::clients::ClientError;
use crate::domain::ledger::account::{AccountKey, AccountKind};
use crate::domain::ledger::posting;
use crate::domain::settlement_batch::{Batch, StatementLine, beginning_of_day};
use crate::events::batch_closed;
use crate::store;
use crate::store::settlement_batch::Closing;

/// Why a batch was not closed or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettlementBatchError {
    #[error("there is no merchant {0}")]
    MerchantNotFound(MerchantId),
    #[error("the merchant has no batch {0}")]
    BatchNotFound(BatchId),
    #[error("there is nothing to settle before the cut-off")]
    NothingToSettle,
    #[error("the idempotency key belongs to another request")]
    KeyReused(IdempotencyKey),
    #[error("a row that was just seen is gone")]
    RowVanished,
    #[error("a day could not be cut")]
    Calendar(#[from] jiff::Error),
    #[error("another service gave no usable answer")]
    Peer(#[source] ClientError),
    #[error("the ledger refused the posting")]
    Posting(#[source] PostError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl From<PostError> for SettlementBatchError {
    fn from(error: PostError) -> Self {
        match error {
            PostError::Database(error) => Self::Database(error),
            other => Self::Posting(other),
        }
    }
}

impl Settlement {
    /// Puts everything that waits and moved before the cut-off into a batch; the cut-off is the beginning of today by
    /// the merchant's calendar when none is given.
    #[tracing::instrument(name = "batch.close", skip_all)]
    pub(crate) async fn close_batch(
        &self,
        merchant_id: MerchantId,
        currency: Currency,
        cut_off_time: Option<Timestamp>,
        guard: IdempotencyKey,
    ) -> Result<Batch, SettlementBatchError> {
        if let Some(batch) = closed_before(&mut *self.pool.acquire().await?, merchant_id, &guard).await? {
            return Ok(batch);
        }
        let zone = self.time_zone(merchant_id).await?;
        let now = self.clock.now();
        let cut_off_time = match cut_off_time {
            Some(time) => time,
            None => beginning_of_day(now, zone)?,
        };
        let closing =
            Closing { merchant_id, batch_id: BatchId::new(), currency, cut_off_time, close_time: now };

        let mut tx = self.pool.begin().await?;
        // One closing at a time per merchant and currency. Postings go on: they never touch this account.
        let payout = AccountKey::of(AccountKind::PayoutPayable, merchant_id, None, currency);
        let accounts = ensure_accounts(&mut tx, &[payout]).await?;
        let payout_id = *accounts.get(&payout).ok_or(SettlementBatchError::RowVanished)?;
        store::ledger::accounts::lock(&mut tx, &[(merchant_id, payout_id)]).await?;
        if let Some(batch) = closed_before(&mut tx, merchant_id, &guard).await? {
            return Ok(batch);
        }
        let batch = store::settlement_batch::close(&mut tx, &closing, &guard)
            .await?
            .ok_or(SettlementBatchError::NothingToSettle)?;
        let rules = self.rules.get(&mut tx).await?;
        let transfer = posting::batch(merchant_id, batch.id, batch.net, now, rules)
            .map_err(|e| SettlementBatchError::Posting(e.into()))?;
        if let Some(transfer) = transfer {
            post(&mut tx, &[transfer], now).await?;
        }
        self.log.append(&mut tx, &[batch_closed(&batch)]).await?;
        tx.commit().await?;
        crash_point("settlement.batch.committed");
        self.log.wake();
        Ok(batch)
    }

    /// One batch.
    pub(crate) async fn batch(
        &self,
        merchant_id: MerchantId,
        id: BatchId,
    ) -> Result<Batch, SettlementBatchError> {
        let mut conn = self.pool.acquire().await?;
        store::settlement_batch::by_id(&mut conn, merchant_id, id)
            .await?
            .ok_or(SettlementBatchError::BatchNotFound(id))
    }

    /// A page of a merchant's batches, newest first.
    pub(crate) async fn batches(
        &self,
        merchant_id: MerchantId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Batch>, SettlementBatchError> {
        let mut conn = self.pool.acquire().await?;
        Ok(store::settlement_batch::of_merchant(&mut conn, merchant_id, after, limit).await?)
    }

    /// A batch and a page of its movements, oldest first.
    pub(crate) async fn statement(
        &self,
        merchant_id: MerchantId,
        id: BatchId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<(Batch, Vec<StatementLine>), SettlementBatchError> {
        let mut conn = self.pool.acquire().await?;
        let batch = store::settlement_batch::by_id(&mut conn, merchant_id, id)
            .await?
            .ok_or(SettlementBatchError::BatchNotFound(id))?;
        let lines = store::settlement_batch::statement(&mut conn, merchant_id, id, after, limit).await?;
        Ok((batch, lines))
    }

    /// The zone of a merchant that exists.
    async fn time_zone(&self, merchant_id: MerchantId) -> Result<TimeZone, SettlementBatchError> {
        self.clients.time_zone(merchant_id).await.map_err(|error| match error {
            ClientError::MerchantNotFound => SettlementBatchError::MerchantNotFound(merchant_id),
            other => SettlementBatchError::Peer(other),
        })
    }
}

/// The batch that was closed under this key, if it was by the same request.
async fn closed_before(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    guard: &IdempotencyKey,
) -> Result<Option<Batch>, SettlementBatchError> {
    let Some((batch, fingerprint)) = store::settlement_batch::by_key(conn, merchant_id, &guard.key).await?
    else {
        return Ok(None);
    };
    if !guard.matches(&fingerprint) {
        return Err(SettlementBatchError::KeyReused(guard.clone()));
    }
    Ok(Some(batch))
}
