//! Applying another service's log.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use prost::Message as _;
use sqlx::{Acquire as _, PgConnection, PgPool};
use tael_grpc::client::Channel;
use tael_grpc::status::Chain;
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{Cursor, Event, ReadEventsRequest};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Status};
use tracing::Span;

use crate::kind_name;
use crate::log::event_uuid;

const BATCH: u32 = 500;
const WAIT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// The rest after a batch that was not full.
const REST: Duration = Duration::from_millis(5);
/// How often a cursor is stored that moves over nothing but events of no concern.
const STORED_EVERY: Duration = Duration::from_secs(1);

/// An event to be applied.
#[derive(Debug)]
pub struct Received {
    /// The event as it was read.
    pub event: Event,
    /// What it says.
    pub kind: Kind,
    /// A span in the event's trace, open until its batch is committed. What an event causes belongs to it: give
    /// [`Received::traceparent`] to events and rows made from this one.
    pub span: Span,
}

impl Received {
    /// Returns the trace context for what this event causes.
    pub fn traceparent(&self) -> Option<String> {
        tael_telemetry::traceparent_of(&self.span)
    }
}

/// Why events were not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// It may succeed later: nothing is wrong with the events. The batch is tried again.
    #[error("not now")]
    Transient(#[source] Box<dyn Error + Send + Sync>),
    /// It will never succeed. The event that causes it is set aside.
    #[error("can't be applied")]
    Poison(#[source] Box<dyn Error + Send + Sync>),
}

impl From<sqlx::Error> for ApplyError {
    fn from(error: sqlx::Error) -> Self {
        if tael_postgres::is_transient(&error) {
            Self::Transient(Box::new(error))
        } else {
            Self::Poison(Box::new(error))
        }
    }
}

/// What a service does with another one's events.
pub trait Handler: Send + Sync + 'static {
    /// Says whether a kind of event has any effect here. Others never reach [`Handler::apply`] and cost no
    /// transaction.
    fn concerns(&self, kind: &Kind) -> bool;

    /// Applies events in log order, within the transaction that also moves the cursor. No network call may be made
    /// here.
    fn apply(
        &self,
        tx: &mut PgConnection,
        events: &[Received],
    ) -> impl Future<Output = Result<(), ApplyError>> + Send;

    /// Called after the commit: wakes what waits for the effects.
    fn applied(&self) {}
}

/// Pulls one service's log into one handler. Several replicas may run the same consumer: each batch takes effect
/// once.
#[derive(Debug)]
pub struct Consumer<H> {
    name: &'static str,
    source: &'static str,
    log: EventLogServiceClient<Channel>,
    pool: PgPool,
    handler: H,
    place: Option<Place>,
}

/// How far this process has come.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The cursor in the database, as far as we know: what the next batch moves it from.
    stored: Cursor,
    /// Up to where there was nothing more of concern.
    read: Cursor,
    /// When the cursor was stored.
    stored_at: Instant,
}

impl<H: Handler> Consumer<H> {
    /// Makes the service `name` consume the log of the service `source`, from where this database's cursor stands.
    pub fn new(name: &'static str, source: &'static str, channel: Channel, pool: PgPool, handler: H) -> Self {
        Self {
            name,
            source,
            log: EventLogServiceClient::new(channel).max_decoding_message_size(16 << 20),
            pool,
            handler,
            place: None,
        }
    }

    /// Consumes until `shutdown`; a batch that was begun is ended.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !shutdown.is_cancelled() {
            let step = tokio::select! {
                read = self.read(WAIT) => read,
                () = shutdown.cancelled() => return,
            };
            let result = match step {
                Ok((place, events)) => self.apply(place, events).await,
                Err(error) => Err(error),
            };
            match result {
                Ok(count) => {
                    pause = FIRST_PAUSE;
                    // Under load a short rest makes batches of what would be single events.
                    if (1..BATCH as usize).contains(&count) {
                        tokio::time::sleep(REST).await;
                    }
                }
                Err(error) => {
                    self.place = None;
                    tracing::warn!(source = self.source, error = %Chain(&error), "the log could not be consumed");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => pause = (pause * 2).min(LAST_PAUSE),
                        () = shutdown.cancelled() => return,
                    }
                }
            }
        }
    }

    /// Applies what is in the log now, at most one batch, and returns how many events that were. For tests and for
    /// draining.
    pub async fn run_once(&mut self) -> Result<usize, ConsumeError> {
        let (place, events) = self.read(Duration::ZERO).await?;
        self.apply(place, events).await
    }

    async fn read(&mut self, wait: Duration) -> Result<(Place, Vec<Event>), ConsumeError> {
        let place = if let Some(place) = self.place {
            place
        } else {
            let stored = self.cursor().await?;
            *self.place.insert(Place { stored, read: stored, stored_at: Instant::now() })
        };
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let mut request = Request::new(ReadEventsRequest {
            after: Some(place.read),
            limit: BATCH,
            wait_ms,
            ..Default::default()
        });
        request.set_timeout(wait + Duration::from_secs(5));
        Ok((place, self.log.read_events(request).await?.into_inner().events))
    }

    async fn cursor(&self) -> Result<Cursor, sqlx::Error> {
        let row = sqlx::query!("select tx, seq from event_cursor where source = $1", self.source)
            .fetch_optional(&self.pool)
            .await?;
        if let Some(row) = row {
            return Ok(Cursor { transaction: row.tx.cast_unsigned(), sequence: row.seq.cast_unsigned() });
        }
        sqlx::query!(
            "insert into event_cursor (source, tx, seq) values ($1, 0, 0) on conflict do nothing",
            self.source
        )
        .execute(&self.pool)
        .await?;
        Ok(Cursor::default())
    }

    async fn apply(&mut self, place: Place, events: Vec<Event>) -> Result<usize, ConsumeError> {
        let Some(to) = events.last().and_then(|e| e.cursor) else {
            return Ok(0);
        };
        let count = events.len();
        let received: Vec<Received> = events.into_iter().filter_map(|event| self.receive(event)).collect();
        if received.is_empty() && place.stored_at.elapsed() < STORED_EVERY {
            self.place = Some(Place { read: to, ..place });
            return Ok(count);
        }
        // Set again when it is known where the database stands.
        self.place = None;
        let moved = match self.apply_batch(place.stored, to, &received).await {
            Ok(moved) => moved,
            Err(ConsumeError::Apply(ApplyError::Poison(error))) => {
                tracing::error!(source = self.source, error = %Chain(&*error), "a batch has an event that can't be applied");
                self.apply_singly(place.stored, to, &received).await?
            }
            Err(error) => return Err(error),
        };
        if moved {
            self.place = Some(Place { stored: to, read: to, stored_at: Instant::now() });
        }
        self.handler.applied();
        Ok(count)
    }

    fn receive(&self, event: Event) -> Option<Received> {
        // A kind that is newer than this build is none of its business.
        let kind = event.payload.clone()?.kind?;
        if !self.handler.concerns(&kind) {
            return None;
        }
        let span = tracing::info_span!(
            "event",
            otel.name = format!("{} < {}", self.name, kind_name(&kind)),
            service = self.name,
            source = self.source,
            otel.kind = "consumer",
            event_id = event.event_id,
            merchant_id = event.merchant_id,
            aggregate_id = event.aggregate_id,
        );
        tael_telemetry::follow(&span, &event.traceparent);
        Some(Received { event, kind, span })
    }

    /// Applies all events at once; says whether it did, and not another replica before.
    async fn apply_batch(&self, from: Cursor, to: Cursor, events: &[Received]) -> Result<bool, ConsumeError> {
        let mut tx = self.pool.begin().await?;
        if !self.move_cursor(&mut tx, from, to).await? {
            return Ok(false);
        }
        if !events.is_empty() {
            self.handler.apply(&mut tx, events).await?;
        }
        // A constraint that is checked at commit may refuse an event like any other.
        tx.commit().await.map_err(ApplyError::from)?;
        Ok(true)
    }

    /// Applies each event for itself and sets aside those that can't be; says whether it did.
    async fn apply_singly(
        &self,
        from: Cursor,
        to: Cursor,
        events: &[Received],
    ) -> Result<bool, ConsumeError> {
        let mut tx = self.pool.begin().await?;
        if !self.move_cursor(&mut tx, from, to).await? {
            return Ok(false);
        }
        for received in events {
            let mut savepoint = tx.begin().await?;
            match self.apply_one(&mut savepoint, received).await {
                Ok(()) => savepoint.commit().await?,
                Err(ApplyError::Poison(error)) => {
                    savepoint.rollback().await?;
                    let error = Chain(&*error).to_string();
                    self.set_aside(&mut tx, received, &error).await?;
                }
                Err(error @ ApplyError::Transient(_)) => return Err(error.into()),
            }
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Applies one event, with the constraints that would be checked at commit: there it would be too late to tell
    /// which event they refuse.
    async fn apply_one(&self, savepoint: &mut PgConnection, received: &Received) -> Result<(), ApplyError> {
        self.handler.apply(savepoint, std::slice::from_ref(received)).await?;
        sqlx::query("set constraints all immediate").execute(&mut *savepoint).await?;
        sqlx::query("set constraints all deferred").execute(savepoint).await?;
        Ok(())
    }

    /// Moves the cursor if it still stands at `from`. Taken first, its row lock makes replicas take turns.
    async fn move_cursor(
        &self,
        tx: &mut PgConnection,
        from: Cursor,
        to: Cursor,
    ) -> Result<bool, sqlx::Error> {
        let moved = sqlx::query!(
            "update event_cursor set tx = $4, seq = $5 where source = $1 and tx = $2 and seq = $3",
            self.source,
            from.transaction.cast_signed(),
            from.sequence.cast_signed(),
            to.transaction.cast_signed(),
            to.sequence.cast_signed(),
        )
        .execute(tx)
        .await?;
        Ok(moved.rows_affected() == 1)
    }

    async fn set_aside(
        &self,
        tx: &mut PgConnection,
        received: &Received,
        error: &str,
    ) -> Result<(), sqlx::Error> {
        let event_id = &received.event.event_id;
        tracing::error!(source = self.source, event_id, error, "an event was set aside");
        sqlx::query!(
            "insert into event_set_aside (source, event_id, event, error) values ($1, $2, $3, $4)
             on conflict (source, event_id) do update set error = excluded.error, set_aside_time = now()",
            self.source,
            event_uuid(&received.event),
            received.event.encode_to_vec(),
            error,
        )
        .execute(tx)
        .await?;
        Ok(())
    }
}

/// Why a log could not be consumed; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The log could not be read.
    #[error("the log could not be read")]
    Read(#[from] Status),
    /// The own database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    /// The handler failed.
    #[error("the events could not be applied")]
    Apply(#[from] ApplyError),
}
