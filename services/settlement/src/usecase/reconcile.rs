//! Reconciliation: a channel's bill against the ledger.

use jiff::SignedDuration;
use jiff::civil::Date;
use tael_fault::crash_point;
use tael_idempotency::IdempotencyKey;
use tael_ids::{ChannelAccountId, MerchantId, ReconciliationId};

use super::{Error, Settlement};
use crate::clients::{Bill, ClientError};
use crate::domain::reconciliation::{BillDay, Reconciliation};
use crate::store;
use crate::store::reconciliations::Reading;

/// So many differences are told; there may be more.
const MAX_BREAKS: i64 = 1000;

/// A bill that is still not read after this time is not being read any more: a call has half a minute.
const ABANDONED_AFTER: SignedDuration = SignedDuration::from_hours(1);

impl Settlement {
    /// Reads a channel account's bill of one day and compares it with the ledger.
    ///
    /// The bill is stored as it arrives, in short transactions, and nothing is held in memory but the part on its way.
    /// Calls with one key that run at once each read the bill; the first that ends makes the comparison, the others
    /// answer with it.
    #[tracing::instrument(name = "reconciliation.run", skip_all)]
    pub(crate) async fn reconcile(
        &self,
        merchant_id: MerchantId,
        channel_account_id: ChannelAccountId,
        bill_date: Date,
        guard: IdempotencyKey,
    ) -> Result<Reconciliation, Error> {
        if let Some(reconciliation) = self.reconciled_before(merchant_id, &guard).await? {
            return Ok(reconciliation);
        }
        let client_error = |error| match error {
            ClientError::ChannelAccountNotFound => Error::ChannelAccountNotFound(channel_account_id),
            ClientError::BillNotAvailable => Error::BillNotAvailable(bill_date),
            other => Error::Peer(other),
        };
        let channel = self.clients.channel(merchant_id, channel_account_id).await.map_err(client_error)?;
        let bill =
            self.clients.read_bill(merchant_id, channel_account_id, bill_date).await.map_err(client_error)?;

        let now = self.clock.now();
        store::reconciliations::discard_abandoned(&self.pool, merchant_id, now.checked_sub(ABANDONED_AFTER)?)
            .await?;
        let reading = Reading {
            merchant_id,
            id: ReconciliationId::new(),
            channel_account_id,
            channel,
            day: BillDay::new(bill_date, &channel.calendar())?,
            create_time: now,
        };
        store::reconciliations::begin(&self.pool, &reading).await?;
        let done = match self.read(&reading, bill, client_error).await {
            Ok(()) => self.compare(&reading, &guard).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            store::reconciliations::discard(&self.pool, &reading).await?;
            return match &error {
                Error::Database(e) if is_idempotency_conflict(e) => {
                    self.reconciled_before(merchant_id, &guard).await?.ok_or(Error::RowVanished)
                }
                _ => Err(error),
            };
        }
        self.reconciliation(merchant_id, reading.id).await
    }

    /// An earlier comparison.
    pub(crate) async fn reconciliation(
        &self,
        merchant_id: MerchantId,
        id: ReconciliationId,
    ) -> Result<Reconciliation, Error> {
        store::reconciliations::by_id(&self.pool, merchant_id, id, MAX_BREAKS)
            .await?
            .ok_or(Error::ReconciliationNotFound(id))
    }

    /// Stores the lines of the bill as they come.
    async fn read(
        &self,
        reading: &Reading,
        mut bill: Bill,
        client_error: impl Fn(ClientError) -> Error,
    ) -> Result<(), Error> {
        let mut next_line = 1;
        while let Some(lines) = bill.next().await.map_err(&client_error)? {
            store::reconciliations::insert_lines(&self.pool, reading, next_line, &lines).await?;
            next_line += i64::try_from(lines.len()).unwrap_or(i64::MAX);
        }
        Ok(())
    }

    async fn compare(&self, reading: &Reading, guard: &IdempotencyKey) -> Result<(), Error> {
        crash_point("settlement.reconcile.read");
        let mut tx = self.pool.begin().await?;
        let counts = store::reconciliations::compare(&mut tx, reading).await?;
        store::reconciliations::finish(&mut tx, reading, counts, guard).await?;
        tx.commit().await?;
        self.news.notify_one();
        crash_point("settlement.reconcile.committed");
        Ok(())
    }

    /// The comparison that was made under this key, if it was by the same request.
    async fn reconciled_before(
        &self,
        merchant_id: MerchantId,
        guard: &IdempotencyKey,
    ) -> Result<Option<Reconciliation>, Error> {
        let found = store::reconciliations::by_key(&self.pool, merchant_id, &guard.key, MAX_BREAKS).await?;
        let Some((reconciliation, fingerprint)) = found else { return Ok(None) };
        guard.check(&fingerprint).map_err(Error::KeyReused)?;
        Ok(Some(reconciliation))
    }
}

fn is_idempotency_conflict(error: &sqlx::Error) -> bool {
    tael_postgres::violated_constraint(error) == Some("reconciliation_idempotency")
}
