//! Appending to a service's log and serving it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use prost::Message as _;
use sqlx::{PgConnection, PgPool};
use tael_grpc::fields::Fields;
use tael_ids::{EventId, MerchantId};
use tael_proto::event::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{Cursor, Event, Payload, ReadEventsRequest, ReadEventsResponse};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::horizon;

const DEFAULT_LIMIT: u32 = 500;
const MAX_LIMIT: u32 = 1000;
const MAX_WAIT_MS: u32 = 30_000;
/// How often a waiting reader looks at the table: soon after it was woken, for an older transaction may hide what
/// was just committed; then ever more seldom, for what other replicas append.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_millis(200);

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
    appended: Arc<Notify>,
    shutdown: CancellationToken,
}

impl EventLog {
    /// Serves the log in this database; waiting readers are answered when `shutdown` is cancelled.
    pub fn new(pool: PgPool, shutdown: CancellationToken) -> Self {
        Self { pool, appended: Arc::default(), shutdown }
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
        sqlx::query!(
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
        .execute(tx)
        .await?;
        Ok(())
    }

    /// Tells waiting readers to look. Without it they look a little later by themselves.
    pub fn wake(&self) {
        self.appended.notify_waiters();
    }

    /// Returns the gRPC service of this log.
    pub fn server(&self) -> EventLogServiceServer<Self> {
        EventLogServiceServer::new(self.clone())
    }

    /// Returns at most `limit` events after the cursor. An event is returned only when no transaction that could
    /// still put one before it is running.
    pub async fn read(&self, after: Cursor, limit: u32) -> Result<Vec<Event>, sqlx::Error> {
        let events = self.read_settled(after, limit).await?;
        if !events.is_empty() {
            return Ok(events);
        }
        match horizon::beyond_snapshot(&self.pool, after).await? {
            Some(horizon) => self.read_below(after, horizon, limit).await,
            None => Ok(events),
        }
    }

    /// Reads below the oldest transaction that runs anywhere on the server: one statement, enough most of the time.
    async fn read_settled(&self, after: Cursor, limit: u32) -> Result<Vec<Event>, sqlx::Error> {
        sqlx::query_as!(
            EventRow,
            r#"select seq, tx::text::bigint as "tx!", event_id, merchant_id, aggregate_id, payload, traceparent,
                      occur_time
               from event_log
               where (tx, seq) > ($1::bigint::text::xid8, $2) and tx < pg_snapshot_xmin(pg_current_snapshot())
               order by tx, seq
               limit $3"#,
            after.transaction.cast_signed(),
            after.sequence.cast_signed(),
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?
        .into_iter()
        .map(Event::try_from)
        .collect()
    }

    async fn read_below(&self, after: Cursor, horizon: i64, limit: u32) -> Result<Vec<Event>, sqlx::Error> {
        sqlx::query_as!(
            EventRow,
            r#"select seq, tx::text::bigint as "tx!", event_id, merchant_id, aggregate_id, payload, traceparent,
                      occur_time
               from event_log
               where (tx, seq) > ($1::bigint::text::xid8, $2) and tx < $3::bigint::text::xid8
               order by tx, seq
               limit $4"#,
            after.transaction.cast_signed(),
            after.sequence.cast_signed(),
            horizon,
            i64::from(limit),
        )
        .fetch_all(&self.pool)
        .await?
        .into_iter()
        .map(Event::try_from)
        .collect()
    }

    async fn read_or_wait(
        &self,
        after: Cursor,
        limit: u32,
        wait: Duration,
    ) -> Result<Vec<Event>, sqlx::Error> {
        let give_up = Instant::now() + wait;
        let mut pause = LAST_LOOK;
        loop {
            // Registered before the look, so that an append in between is not missed.
            let appended = self.appended.notified();
            let events = self.read(after, limit).await?;
            if !events.is_empty() || Instant::now() >= give_up {
                return Ok(events);
            }
            tokio::select! {
                () = appended => pause = FIRST_LOOK,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LAST_LOOK),
                () = tokio::time::sleep_until(give_up) => {}
                // Not another look: the database may be closed by now.
                () = self.shutdown.cancelled() => return Ok(events),
            }
        }
    }
}

#[tonic::async_trait]
impl EventLogService for EventLog {
    async fn read_events(
        &self,
        request: Request<ReadEventsRequest>,
    ) -> Result<Response<ReadEventsResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let limit = if request.limit == 0 {
            Some(DEFAULT_LIMIT)
        } else {
            fields.number("limit", request.limit, 1..=MAX_LIMIT)
        };
        let wait_ms = fields.number("wait_ms", request.wait_ms, 0..=MAX_WAIT_MS);
        let (limit, wait_ms) = fields.finish(|| Some((limit?, wait_ms?)))?;
        let after = request.after.unwrap_or_default();
        let events = self
            .read_or_wait(after, limit, Duration::from_millis(u64::from(wait_ms)))
            .await
            .map_err(|e| tael_postgres::status(&e))?;
        Ok(Response::new(ReadEventsResponse { events, head_sequence: 0 }))
    }

    async fn list_consumers(
        &self,
        _: Request<tael_proto::event::v1::ListConsumersRequest>,
    ) -> Result<Response<tael_proto::event::v1::ListConsumersResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }

    async fn remove_consumer(
        &self,
        _: Request<tael_proto::event::v1::RemoveConsumerRequest>,
    ) -> Result<Response<tael_proto::event::v1::RemoveConsumerResponse>, Status> {
        Err(Status::unimplemented("not yet"))
    }
}

struct EventRow {
    seq: i64,
    tx: i64,
    event_id: Uuid,
    merchant_id: Uuid,
    aggregate_id: String,
    payload: Vec<u8>,
    traceparent: String,
    occur_time: jiff_sqlx::Timestamp,
}

impl TryFrom<EventRow> for Event {
    type Error = sqlx::Error;

    fn try_from(row: EventRow) -> Result<Self, sqlx::Error> {
        let payload =
            Payload::decode(row.payload.as_slice()).map_err(|e| sqlx::Error::Decode(Box::new(e)))?;
        Ok(Self {
            event_id: EventId::from_uuid(row.event_id).to_string(),
            cursor: Some(Cursor { transaction: row.tx.cast_unsigned(), sequence: row.seq.cast_unsigned() }),
            merchant_id: MerchantId::from_uuid(row.merchant_id).to_string(),
            aggregate_id: row.aggregate_id,
            occur_time: Some(tael_grpc::convert::timestamp(row.occur_time.to_jiff())),
            traceparent: row.traceparent,
            payload: Some(payload),
        })
    }
}

/// Reads an event's id, for consumers that store it.
pub(crate) fn event_uuid(event: &Event) -> Uuid {
    event.event_id.parse::<EventId>().map_or(Uuid::nil(), EventId::uuid)
}
