//! A service's log.

use std::num::NonZeroU16;
use std::sync::Arc;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use prost::Message as _;
use sqlx::{PgConnection, PgPool};
use tael_ids::{EventId, MerchantId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{Cursor, Payload};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tracing::Instrument as _;

use crate::read::{self, Page, ReadError};
use crate::registry::Registry;

/// An event to be appended.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The merchant whom it concerns.
    pub merchant_id: MerchantId,
    /// The id of the order, payment … whose fact it is.
    pub aggregate_id: String,
    /// What became true.
    pub kind: Kind,
    /// When.
    pub occur_time: Timestamp,
    /// The trace in which it became true; the current span's when none is given.
    pub traceparent: Option<String>,
}

/// A service's log. Cheap to clone; clones wake the same readers.
#[derive(Clone, Debug)]
pub struct EventLog {
    pool: PgPool,
    registry: Registry,
    kept_days: Option<NonZeroU16>,
    appended: Arc<Notify>,
    shutdown: CancellationToken,
}

impl EventLog {
    /// Serves the log in this database; waiting readers are answered when `shutdown` is cancelled.
    pub fn new(pool: PgPool, shutdown: CancellationToken) -> Self {
        Self {
            registry: Registry::new(pool.clone()),
            kept_days: None,
            pool,
            appended: Arc::default(),
            shutdown,
        }
    }

    /// Keeps events for so many days only, where [`EventLog::prune`] runs; for ever when none.
    #[must_use]
    pub fn with_retention(mut self, days: Option<NonZeroU16>) -> Self {
        self.kept_days = days;
        self
    }

    /// Appends events in the caller's transaction, in one statement. Call [`EventLog::wake`] after the commit.
    pub async fn append(&self, tx: &mut PgConnection, events: &[NewEvent]) -> Result<(), sqlx::Error> {
        if events.is_empty() {
            return Ok(());
        }
        let current = tael_telemetry::current_traceparent().unwrap_or_default();
        let mut ids = Vec::with_capacity(events.len());
        let mut merchants = Vec::with_capacity(events.len());
        let mut aggregates = Vec::with_capacity(events.len());
        let mut kinds = Vec::with_capacity(events.len());
        let mut payloads = Vec::with_capacity(events.len());
        let mut traces = Vec::with_capacity(events.len());
        let mut times = Vec::with_capacity(events.len());
        for event in events {
            ids.push(EventId::new().uuid());
            merchants.push(event.merchant_id.uuid());
            aggregates.push(event.aggregate_id.clone());
            kinds.push(crate::kind_name(&event.kind).to_owned());
            payloads.push(Payload { kind: Some(event.kind.clone()) }.encode_to_vec());
            traces.push(event.traceparent.clone().unwrap_or_else(|| current.clone()));
            times.push(event.occur_time.to_sqlx());
        }
        let insert = sqlx::query!(
            "insert into event_log (event_id, merchant_id, aggregate_id, kind, payload, traceparent, occur_time)
             select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bytea[], $6::text[],
                                  $7::timestamptz[])",
            &ids,
            &merchants,
            &aggregates,
            &kinds,
            &payloads,
            &traces,
            &times as _,
        )
        .execute(tx);
        // Only now: what follows from an event is the child of what made it true, not of this statement.
        insert.instrument(tracing::info_span!("db.event.append")).await?;
        Ok(())
    }

    /// Tells waiting readers to look. Without it they look a little later by themselves.
    pub fn wake(&self) {
        self.appended.notify_waiters();
    }

    /// Returns at most `limit` events after the cursor. An event is returned only when no transaction that could
    /// still put one before it is running.
    pub async fn read(&self, after: Cursor, limit: u32) -> Result<Page, ReadError> {
        read::read(&self.pool, after, limit).await
    }

    pub(crate) fn kept_days(&self) -> Option<NonZeroU16> {
        self.kept_days
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Ends when something is appended in this process from now on.
    pub(crate) fn appended(&self) -> Notified<'_> {
        self.appended.notified()
    }

    /// Ends when waiting readers are to be answered.
    pub(crate) fn shutdown(&self) -> WaitForCancellationFuture<'_> {
        self.shutdown.cancelled()
    }
}
