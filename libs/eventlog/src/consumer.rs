//! Applying another service's log.

mod apply;
mod lease;
mod progress;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tael_grpc::client::Channel;
use tael_grpc::status::Chain;
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::event::v1::{Cursor, Event, ReadEventsRequest};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};
use tracing::{Instrument as _, Span};

use self::lease::Lease;
use self::progress::Progress;
use crate::handler::{ApplyError, Handler, Received};

const BATCH: u32 = 1000;
const WAIT: Duration = Duration::from_secs(5);
/// How much longer than it may wait a call may take. A source that hangs is noticed so soon.
const GRACE: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(1);
/// The rest after a batch that was not full.
const REST: Duration = Duration::from_millis(5);
/// How often a cursor is stored that moves over nothing but events of no concern.
const STORED_EVERY: Duration = Duration::from_secs(1);
/// How long the database may take for a step at first; then its connection counts as lost, although nobody said so. What
/// is only slow must come to its end as well, so the next time it has twice as long.
const FIRST_TIMEOUT: Duration = Duration::from_secs(5);
const LAST_TIMEOUT: Duration = Duration::from_secs(80);
/// How often a replica that stands by looks whether it is wanted.
const STANDBY: Duration = Duration::from_millis(250);

/// Pulls one service's log into one handler. Several replicas may run the same consumer: one works while the others
/// stand by, and each batch takes effect once even when two work by mistake.
#[derive(Debug)]
pub struct Consumer<H> {
    name: &'static str,
    source: &'static str,
    log: EventLogServiceClient<Channel>,
    pool: PgPool,
    handler: Arc<H>,
    lease: Lease,
    progress: Progress,
    /// How long the database may take for a step.
    timeout: Duration,
    position: Option<Position>,
    /// What was read while the batch before it was applied.
    ahead: Option<Batch>,
}

/// How far this process has come.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// The cursor in the database, as far as we know: what the next batch moves it from.
    stored: Cursor,
    /// Up to where there was nothing more of concern.
    read: Cursor,
    /// When the cursor was stored.
    stored_at: Instant,
}

/// Events that were read.
#[derive(Debug)]
struct Batch {
    after: Cursor,
    /// The last event's position; `after` when there is none.
    to: Cursor,
    events: Vec<Event>,
    head_sequence: u64,
}

impl Batch {
    fn is_full(&self) -> bool {
        self.events.len() >= BATCH as usize
    }
}

impl<H: Handler> Consumer<H> {
    /// Makes the service `name` consume the log of the service `source`, from where this database's cursor stands.
    pub fn new(name: &'static str, source: &'static str, channel: Channel, pool: PgPool, handler: H) -> Self {
        Self {
            name,
            source,
            log: EventLogServiceClient::new(channel).max_decoding_message_size(16 << 20),
            lease: Lease::new(pool.clone(), source),
            progress: Progress::new(name, source),
            pool,
            handler: Arc::new(handler),
            timeout: FIRST_TIMEOUT,
            position: None,
            ahead: None,
        }
    }

    /// The name of the service that consumes.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// The service whose log is consumed.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// What is done with its events.
    pub(crate) fn handler(&self) -> Arc<H> {
        Arc::clone(&self.handler)
    }

    /// Consumes until `shutdown`; a batch that was begun is ended.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut pause = FIRST_PAUSE;
        while !shutdown.is_cancelled() {
            let step = tokio::select! {
                step = self.next() => step,
                () = shutdown.cancelled() => break,
            };
            let rest = match step {
                Ok(None) => {
                    self.progress.stands_by();
                    STANDBY
                }
                Ok(Some(batch)) => match self.apply_and_read_on(batch).await {
                    Ok(rest) => {
                        pause = FIRST_PAUSE;
                        self.timeout = FIRST_TIMEOUT;
                        rest
                    }
                    Err(error) => self.failed(&error, &mut pause),
                },
                Err(error) => self.failed(&error, &mut pause),
            };
            if !rest.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(rest) => {}
                    () = shutdown.cancelled() => break,
                }
            }
        }
        self.lease.release().await;
    }

    /// Applies what is in the log now, at most one batch, and returns how many events that were; whoever holds the
    /// lease. For tests and for draining.
    pub async fn run_once(&mut self) -> Result<usize, ConsumeError> {
        let position = self.position().await?;
        let batch = self.fetch(position, position.read, Duration::ZERO).await?;
        self.apply(batch).await
    }

    /// Logs what failed and returns how long to pause; the position is looked up again.
    fn failed(&mut self, error: &ConsumeError, pause: &mut Duration) -> Duration {
        self.position = None;
        self.ahead = None;
        if matches!(error, ConsumeError::Silent(_)) {
            self.timeout = (self.timeout * 2).min(LAST_TIMEOUT);
        }
        let chain = Chain(error);
        if matches!(error, ConsumeError::Read(status) if status.code() == Code::OutOfRange) {
            tracing::error!(tael.source = self.source, error = %chain, "the log no longer has what comes next");
        } else {
            tracing::warn!(tael.source = self.source, error = %chain, "the log could not be consumed");
        }
        std::mem::replace(pause, (*pause * 2).min(LAST_PAUSE))
    }

    /// Returns what comes next, possibly nothing; none while another replica works.
    async fn next(&mut self) -> Result<Option<Batch>, ConsumeError> {
        if !self.lease.is_held() {
            // Another replica may have worked meanwhile.
            self.position = None;
        }
        if !in_time(self.timeout, self.lease.hold()).await? {
            return Ok(None);
        }
        let position = self.position().await?;
        if let Some(batch) = self.ahead.take()
            && batch.after == position.read
        {
            return Ok(Some(batch));
        }
        // A cursor that was not stored yet is stored in time, also when nothing more comes.
        let wait = if position.read == position.stored {
            WAIT
        } else {
            STORED_EVERY.saturating_sub(position.stored_at.elapsed()) + Duration::from_millis(1)
        };
        let mut read = pin!(self.fetch(position, position.read, wait));
        loop {
            tokio::select! {
                batch = &mut read => return batch.map(Some),
                () = tokio::time::sleep_until(self.lease.renew_at()) => if !in_time(self.timeout, self.lease.hold()).await? {
                    return Ok(None);
                },
            }
        }
    }

    /// Applies a batch and, when there is more, reads the next one at the same time. Returns how long to rest.
    async fn apply_and_read_on(&mut self, batch: Batch) -> Result<Duration, ConsumeError> {
        let (count, full, to) = (batch.events.len(), batch.is_full(), batch.to);
        if let (true, Some(position)) = (full, self.position) {
            let next = self.fetch(position, to, Duration::ZERO);
            let (applied, next) = tokio::join!(self.apply(batch), next);
            applied?;
            self.ahead = next.ok().filter(|next| !next.events.is_empty());
            return Ok(Duration::ZERO);
        }
        self.apply(batch).await?;
        // Under load a short rest makes batches of what would be single events.
        Ok(if count > 0 { REST } else { Duration::ZERO })
    }

    async fn position(&mut self) -> Result<Position, ConsumeError> {
        if let Some(position) = self.position {
            return Ok(position);
        }
        let stored = in_time(self.timeout, self.cursor()).await?;
        Ok(*self.position.insert(Position { stored, read: stored, stored_at: Instant::now() }))
    }

    async fn cursor(&self) -> Result<Cursor, sqlx::Error> {
        let row = sqlx::query!("select tx, seq from event_cursor where source = $1", self.source)
            .fetch_optional(&self.pool)
            .await?;
        if let Some(row) = row {
            return Ok(crate::read::cursor(row.tx, row.seq));
        }
        sqlx::query!(
            "insert into event_cursor (source, tx, seq) values ($1, 0, 0) on conflict do nothing",
            self.source
        )
        .execute(&self.pool)
        .await?;
        Ok(Cursor::default())
    }

    /// Reads a batch after a position. Borrows nothing, so that something else can be done meanwhile.
    fn fetch(
        &self,
        position: Position,
        after: Cursor,
        wait: Duration,
    ) -> impl Future<Output = Result<Batch, ConsumeError>> + Send + use<H> {
        let mut log = self.log.clone();
        let mut request = Request::new(ReadEventsRequest {
            after: Some(after),
            limit: BATCH,
            wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            consumer: self.name.to_owned(),
            applied: Some(position.stored),
        });
        request.set_timeout(wait + GRACE);
        async move {
            let page = log.read_events(request).await?.into_inner();
            let to = page.events.last().and_then(|event| event.cursor).unwrap_or(after);
            Ok(Batch { after, to, events: page.events, head_sequence: page.head_sequence })
        }
    }

    /// Applies a batch that follows on the position; returns how many events it had.
    async fn apply(&mut self, batch: Batch) -> Result<usize, ConsumeError> {
        // Set again when it is known where the database stands. After an answer that did not come it is not: the batch may
        // have been committed.
        let Some(position) = self.position.take() else {
            return Ok(0);
        };
        let Batch { to, events, head_sequence, .. } = batch;
        let count = events.len();
        self.progress.begun(&events, head_sequence);
        let concern = |event| Received::if_handled(&*self.handler, self.name, self.source, event);
        let received: Vec<Received> = events.into_iter().filter_map(concern).collect();
        let may_stay = position.stored == to || position.stored_at.elapsed() < STORED_EVERY;
        if received.is_empty() && may_stay {
            self.position = Some(Position { read: to, ..position });
            self.progress.ended(head_sequence);
            return Ok(count);
        }
        let batch = self.batch_span(&received);
        let applied = self.apply_between(position.stored, to, &received).instrument(batch);
        if in_time(self.timeout, applied).await? {
            self.position = Some(Position { stored: to, read: to, stored_at: Instant::now() });
            self.lease.renewed();
            self.progress.ended(head_sequence);
            if !received.is_empty() {
                self.handler.applied();
            }
        } else {
            // Another replica was here, so the lease is not ours, or the cursor was moved by hand.
            self.lease.lose();
        }
        Ok(count)
    }

    /// Begins the trace of a batch and links its events to it; none where there are none.
    fn batch_span(&self, events: &[Received]) -> Span {
        if events.is_empty() {
            return Span::none();
        }
        let batch = tracing::info_span!(
            parent: None,
            "event.batch",
            otel.name = format!("event.batch.{}", self.name),
            otel.kind = "consumer",
            tael.source = self.source,
            tael.events = events.len(),
        );
        for event in events {
            tael_telemetry::link(&event.span, &batch);
        }
        batch
    }
}

/// Gives up a step whose answer does not come. Its transaction, if it had begun one, takes effect as a whole or not at
/// all, and the cursor tells which.
async fn in_time<T, E: Into<ConsumeError>>(
    timeout: Duration,
    step: impl Future<Output = Result<T, E>>,
) -> Result<T, ConsumeError> {
    match tokio::time::timeout(timeout, step).await {
        Ok(result) => result.map_err(Into::into),
        Err(_elapsed) => Err(ConsumeError::Silent(timeout)),
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
    /// The own database did not answer. What was asked of it may have happened.
    #[error("the database did not answer within {0:?}")]
    Silent(Duration),
    /// The handler failed.
    #[error("the events could not be applied")]
    Apply(#[from] ApplyError),
}
