//! Settlement batches and statements.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use sqlx::PgConnection;
use tael_fault::crash_point;
use tael_idempotency::IdempotencyKey;
use tael_ids::{BatchId, MerchantId};
use tael_money::Currency;
use uuid::Uuid;

use super::posting::{ensure_accounts, post};
use super::{Error, Settlement};
use crate::clients::ClientError;
use crate::domain::account::AccountKey;
use crate::domain::batch::{Batch, StatementLine, beginning_of_day};
use crate::domain::posting;
use crate::events::batch_closed;
use crate::store;
use crate::store::batches::Closing;

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
    ) -> Result<Batch, Error> {
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
        let payout = AccountKey::payout_payable(merchant_id, currency);
        let accounts = ensure_accounts(&mut tx, &[payout]).await?;
        let payout_id = *accounts.get(&payout).ok_or(Error::RowVanished)?;
        store::accounts::lock(&mut tx, &[(merchant_id, payout_id)]).await?;
        if let Some(batch) = closed_before(&mut tx, merchant_id, &guard).await? {
            return Ok(batch);
        }
        let batch = store::batches::close(&mut tx, &closing, &guard).await?.ok_or(Error::NothingToSettle)?;
        let transfer =
            posting::batch(merchant_id, batch.id, batch.net, now).map_err(|e| Error::Posting(e.into()))?;
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
    pub(crate) async fn batch(&self, merchant_id: MerchantId, id: BatchId) -> Result<Batch, Error> {
        let mut conn = self.pool.acquire().await?;
        store::batches::by_id(&mut conn, merchant_id, id).await?.ok_or(Error::BatchNotFound(id))
    }

    /// A page of a merchant's batches, newest first.
    pub(crate) async fn batches(
        &self,
        merchant_id: MerchantId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Batch>, Error> {
        Ok(store::batches::of_merchant(&self.pool, merchant_id, after, limit).await?)
    }

    /// A batch and a page of its movements, oldest first.
    pub(crate) async fn statement(
        &self,
        merchant_id: MerchantId,
        id: BatchId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<(Batch, Vec<StatementLine>), Error> {
        let mut conn = self.pool.acquire().await?;
        let batch =
            store::batches::by_id(&mut conn, merchant_id, id).await?.ok_or(Error::BatchNotFound(id))?;
        let lines = store::batches::statement(&mut conn, merchant_id, id, after, limit).await?;
        Ok((batch, lines))
    }

    /// The zone of a merchant that exists.
    pub(super) async fn time_zone(&self, merchant_id: MerchantId) -> Result<TimeZone, Error> {
        self.clients.time_zone(merchant_id).await.map_err(|error| match error {
            ClientError::MerchantNotFound => Error::MerchantNotFound(merchant_id),
            other => Error::Peer(other),
        })
    }
}

/// The batch that was closed under this key, if it was by the same request.
async fn closed_before(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    guard: &IdempotencyKey,
) -> Result<Option<Batch>, Error> {
    let Some((batch, fingerprint)) = store::batches::by_key(conn, merchant_id, &guard.key).await? else {
        return Ok(None);
    };
    guard.check(&fingerprint).map_err(Error::KeyReused)?;
    Ok(Some(batch))
}
