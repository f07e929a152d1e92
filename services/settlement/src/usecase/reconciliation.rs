//! Reconciliation: a channel's statement against the ledger.

use jiff::SignedDuration;
use jiff::civil::Date;
use tael_fault::crash_point;
use tael_idempotency::IdempotencyKey;
use tael_ids::{ChannelAccountId, MerchantId, ReconciliationId};

use super::Settlement;
use crate::clients::{ChannelStatement, ClientError};
use crate::domain::reconciliation::{Reconciliation, StatementDay};
use crate::store;
use crate::store::reconciliation::Reading;

/// So many differences are told; there may be more.
const MAX_BREAKS: i64 = 1000;

/// A statement that is still not read after this time is not being read any more: a call has half a minute.
const ABANDONED_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// Why a comparison was not made or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReconciliationError {
    #[error("the merchant has no reconciliation {0}")]
    ReconciliationNotFound(ReconciliationId),
    #[error("the merchant has no channel account {0}")]
    ChannelAccountNotFound(ChannelAccountId),
    #[error("the channel has no statement for {0}, or not yet")]
    StatementNotAvailable(Date),
    /// For good, as things stand; with the reason that the payment service gives.
    #[error("the channel's statement can't be had: the account must be mended first")]
    StatementRefused { reason: String },
    #[error("the idempotency key belongs to another request")]
    KeyReused(IdempotencyKey),
    #[error("a row that was just seen is gone")]
    RowVanished,
    #[error("a day could not be cut")]
    Calendar(#[from] jiff::Error),
    #[error("another service gave no usable answer")]
    Peer(#[source] ClientError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Settlement {
    /// Reads a channel account's statement of one day and compares it with the ledger.
    ///
    /// The statement is stored as it arrives, in short transactions, and nothing is held in memory but the part on its way.
    /// Calls with one key that run at once each read the statement; the first that ends makes the comparison, the others
    /// answer with it.
    #[tracing::instrument(name = "reconciliation.run", skip_all)]
    pub(crate) async fn reconcile(
        &self,
        merchant_id: MerchantId,
        channel_account_id: ChannelAccountId,
        statement_date: Date,
        guard: IdempotencyKey,
    ) -> Result<Reconciliation, ReconciliationError> {
        if let Some(reconciliation) = self.reconciled_before(merchant_id, &guard).await? {
            return Ok(reconciliation);
        }
        let client_error = |error| match error {
            ClientError::ChannelAccountNotFound => {
                ReconciliationError::ChannelAccountNotFound(channel_account_id)
            }
            ClientError::StatementNotAvailable => ReconciliationError::StatementNotAvailable(statement_date),
            ClientError::StatementRefused { reason } => ReconciliationError::StatementRefused { reason },
            other => ReconciliationError::Peer(other),
        };
        let seller = self.clients.seller(merchant_id, channel_account_id).await.map_err(client_error)?;
        let statement = self
            .clients
            .read_statement(merchant_id, channel_account_id, statement_date)
            .await
            .map_err(client_error)?;

        let now = self.clock.now();
        store::reconciliation::discard_abandoned(&self.pool, merchant_id, now.checked_sub(ABANDONED_AFTER)?)
            .await?;
        let calendar = store::channel::calendar(&self.pool, seller.channel).await?;
        let reading = Reading {
            merchant_id,
            id: ReconciliationId::new(),
            channel_account_id,
            seller_accounts: seller.accounts,
            channel: seller.channel,
            day: StatementDay::new(statement_date, &calendar)?,
            create_time: now,
        };
        store::reconciliation::begin(&self.pool, &reading).await?;
        let done = match self.read(&reading, statement, client_error).await {
            Ok(()) => self.compare(&reading, &guard).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            store::reconciliation::discard(&self.pool, &reading).await?;
            return match &error {
                ReconciliationError::Database(e) if is_idempotency_conflict(e) => {
                    self.reconciled_before(merchant_id, &guard).await?.ok_or(ReconciliationError::RowVanished)
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
    ) -> Result<Reconciliation, ReconciliationError> {
        store::reconciliation::by_id(&self.pool, merchant_id, id, MAX_BREAKS)
            .await?
            .ok_or(ReconciliationError::ReconciliationNotFound(id))
    }

    /// Stores the lines of the statement as they come.
    async fn read(
        &self,
        reading: &Reading,
        mut statement: ChannelStatement,
        client_error: impl Fn(ClientError) -> ReconciliationError,
    ) -> Result<(), ReconciliationError> {
        let mut next_line = 1;
        while let Some(part) = statement.next().await.map_err(&client_error)? {
            let count = part.lines.len() + part.unreadable.len();
            store::reconciliation::insert_lines(&self.pool, reading, next_line, &part).await?;
            next_line = next_line.saturating_add(i64::try_from(count).unwrap_or(i64::MAX));
        }
        Ok(())
    }

    async fn compare(&self, reading: &Reading, guard: &IdempotencyKey) -> Result<(), ReconciliationError> {
        crash_point("settlement.reconcile.read");
        let mut tx = self.pool.begin().await?;
        let counts = store::reconciliation::compare(&mut tx, reading).await?;
        store::reconciliation::finish(&mut tx, reading, counts, guard).await?;
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
    ) -> Result<Option<Reconciliation>, ReconciliationError> {
        let found = store::reconciliation::by_key(&self.pool, merchant_id, &guard.key, MAX_BREAKS).await?;
        let Some((reconciliation, fingerprint)) = found else { return Ok(None) };
        if !guard.matches(&fingerprint) {
            return Err(ReconciliationError::KeyReused(guard.clone()));
        }
        Ok(Some(reconciliation))
    }
}

fn is_idempotency_conflict(error: &sqlx::Error) -> bool {
    tael_postgres::violated_constraint(error) == Some("reconciliation_idempotency")
}
