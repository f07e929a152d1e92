//! One function per use case; the only place that opens transactions.

pub(crate) mod audit;
mod batches;
mod fees;
mod ledger;
pub(crate) mod posting;
mod reconcile;
pub(crate) mod told;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::PgPool;
use tael_clock::Clock;
use tael_eventlog::EventLog;
use tael_ids::{BatchId, ChannelAccountId, MerchantId, ReconciliationId};
use tokio::sync::Notify;
use tonic::Status;

use crate::clients::{ClientError, Clients};

/// The use cases and what they need. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Settlement {
    pool: PgPool,
    log: EventLog,
    clock: Clock,
    clients: Clients,
    /// Is told when a comparison ended.
    news: Arc<Notify>,
}

/// Why a use case did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("there is no merchant {0}")]
    MerchantNotFound(MerchantId),
    #[error("the merchant has no batch {0}")]
    BatchNotFound(BatchId),
    #[error("there is nothing to settle before the cut-off")]
    NothingToSettle,
    #[error("the merchant has no reconciliation {0}")]
    ReconciliationNotFound(ReconciliationId),
    #[error("the merchant has no channel account {0}")]
    ChannelAccountNotFound(ChannelAccountId),
    #[error("the channel has no bill for {0}, or not yet")]
    BillNotAvailable(Date),
    #[error("the idempotency key belongs to another request")]
    KeyReused(Status),
    #[error("a row that was just seen is gone")]
    RowVanished,
    #[error("a day could not be cut")]
    Calendar(#[from] jiff::Error),
    #[error("another service gave no usable answer")]
    Peer(#[source] ClientError),
    #[error("the ledger refused the posting")]
    Posting(#[source] posting::PostError),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Settlement {
    pub(crate) fn new(
        pool: PgPool,
        log: EventLog,
        clock: Clock,
        clients: Clients,
        news: Arc<Notify>,
    ) -> Self {
        Self { pool, log, clock, clients, news }
    }

    /// The present by the service's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl From<posting::PostError> for Error {
    fn from(error: posting::PostError) -> Self {
        match error {
            posting::PostError::Database(error) => Self::Database(error),
            other => Self::Posting(other),
        }
    }
}
