//! The events that could not be applied: listed, and applied again.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use prost::Message as _;
use sqlx::{Acquire as _, PgConnection, PgPool};
use tael_grpc::fields::Fields;
use tael_grpc::page::Page;
use tael_grpc::status::Chain;
use tael_ids::EventId;
use tael_proto::event::v1::dead_letter_service_server::{DeadLetterService, DeadLetterServiceServer};
use tael_proto::event::v1::{
    DeadLetter, Event, ListDeadLettersRequest, ListDeadLettersResponse, ReplayDeadLettersRequest,
    ReplayDeadLettersResponse,
};
use tonic::{Request, Response, Status};
use tracing::Span;
use uuid::Uuid;

use crate::consumer::Consumer;
use crate::handler::{ApplyError, Handler, Received, apply_one};

/// So many events may be named in one request.
const MAX_NAMED: usize = 100;
/// So many are looked up at once when all are to be replayed.
const CHUNK: i64 = 100;

/// The events of other services' logs that could not be applied here. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetters {
    pool: PgPool,
    replays: BTreeMap<&'static str, Arc<dyn Replay>>,
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").field("sources", &self.replays.keys()).finish_non_exhaustive()
    }
}

/// What became of an event.
enum Replayed {
    Applied,
    Failed,
    /// It is no dead letter, or not any more.
    Gone,
}

impl DeadLetters {
    /// The dead letters in this database.
    pub fn new(pool: PgPool) -> Self {
        Self { pool, replays: BTreeMap::new() }
    }

    /// Replays the events of a consumer's source with its handler.
    #[must_use]
    pub fn with<H: Handler>(mut self, consumer: &Consumer<H>) -> Self {
        let replay =
            Replayer { name: consumer.name(), source: consumer.source(), handler: consumer.handler() };
        self.replays.insert(consumer.source(), Arc::new(replay));
        self
    }

    /// Returns the gRPC service that lists and replays them.
    pub fn server(self) -> DeadLetterServiceServer<Self> {
        DeadLetterServiceServer::new(self)
    }

    /// Applies one event again, in a transaction of its own that also removes it. Its row stays locked meanwhile, so
    /// that of two replays at once the second finds it gone.
    async fn replay(&self, event_id: Uuid) -> Result<Replayed, ApplyError> {
        let mut tx = self.pool.begin().await?;
        let row = sqlx::query!(
            "select source, event from event_set_aside where event_id = $1 limit 1 for update",
            event_id,
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else {
            return Ok(Replayed::Gone);
        };
        let replay = self.replays.get(row.source.as_str());
        let mut savepoint = tx.begin().await?;
        let result = match (replay, Event::decode(row.event.as_slice())) {
            (Some(replay), Ok(event)) => replay.apply(&mut savepoint, event).await,
            (_, Err(error)) => Err(ApplyError::Poison(Box::new(error))),
            (None, _) => Err(ApplyError::Poison("nothing consumes this source here".into())),
        };
        match result {
            Ok(()) => {
                savepoint.commit().await?;
                sqlx::query!(
                    "delete from event_set_aside where source = $1 and event_id = $2",
                    row.source,
                    event_id
                )
                .execute(&mut *tx)
                .await?;
                tx.commit().await?;
                if let Some(replay) = replay {
                    replay.applied();
                }
                tracing::info!(tael.source = row.source, tael.event_id = %event_id, "a dead letter was applied");
                Ok(Replayed::Applied)
            }
            Err(ApplyError::Poison(error)) => {
                savepoint.rollback().await?;
                sqlx::query!(
                    "update event_set_aside set error = $3, set_aside_time = now()
                     where source = $1 and event_id = $2",
                    row.source,
                    event_id,
                    Chain(&*error).to_string(),
                )
                .execute(&mut *tx)
                .await?;
                tx.commit().await?;
                Ok(Replayed::Failed)
            }
            Err(error @ ApplyError::Transient(_)) => Err(error),
        }
    }

    async fn replay_each(
        &self,
        events: &[Uuid],
        outcome: &mut ReplayDeadLettersResponse,
    ) -> Result<(), Status> {
        for &event in events {
            match self.replay(event).await.map_err(|error| not_now(&error))? {
                Replayed::Applied => outcome.applied += 1,
                Replayed::Failed => outcome.failed_event_ids.push(EventId::from_uuid(event).to_string()),
                Replayed::Gone => {}
            }
        }
        Ok(())
    }

    async fn ids_after(&self, after: Option<Uuid>) -> Result<Vec<Uuid>, Status> {
        sqlx::query_scalar!(
            "select event_id from event_set_aside where $1::uuid is null or event_id > $1
             order by event_id limit $2",
            after,
            CHUNK,
        )
        .fetch_all(&self.pool)
        .await
        .map_err(|e| tael_postgres::status(&e))
    }
}

#[tonic::async_trait]
impl DeadLetterService for DeadLetters {
    async fn list_dead_letters(
        &self,
        request: Request<ListDeadLettersRequest>,
    ) -> Result<Response<ListDeadLettersResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let page = Page::parse(&mut fields, request.page_size, &request.page_token, &["ListDeadLetters"]);
        let page = fields.finish(|| page)?;
        let rows = sqlx::query!(
            "select source, event_id, event, error, set_aside_time from event_set_aside
             where $1::uuid is null or event_id > $1
             order by event_id limit $2",
            page.after,
            page.limit(),
        )
        .fetch_all(&self.pool)
        .await
        .map_err(|e| tael_postgres::status(&e))?;
        let (rows, next_page_token) = page.cut(rows, |row| row.event_id);
        let events = rows.into_iter().map(|row| DeadLetter {
            source: row.source,
            // What can't be read any more is shown by its id.
            event: Some(Event::decode(row.event.as_slice()).unwrap_or_else(|_| Event {
                event_id: EventId::from_uuid(row.event_id).to_string(),
                ..Event::default()
            })),
            error: row.error,
            dead_letter_time: Some(tael_grpc::convert::timestamp(row.set_aside_time.to_jiff())),
        });
        Ok(Response::new(ListDeadLettersResponse { dead_letters: events.collect(), next_page_token }))
    }

    async fn replay_dead_letters(
        &self,
        request: Request<ReplayDeadLettersRequest>,
    ) -> Result<Response<ReplayDeadLettersResponse>, Status> {
        let named = event_ids(&request.into_inner().event_ids)?;
        let mut outcome = ReplayDeadLettersResponse::default();
        if !named.is_empty() {
            self.replay_each(&named, &mut outcome).await?;
            return Ok(Response::new(outcome));
        }
        let mut after = None;
        loop {
            let events = self.ids_after(after).await?;
            let Some(&last) = events.last() else {
                return Ok(Response::new(outcome));
            };
            self.replay_each(&events, &mut outcome).await?;
            after = Some(last);
        }
    }
}

/// Reads the events' ids, oldest first.
fn event_ids(ids: &[String]) -> Result<Vec<Uuid>, Status> {
    let mut fields = Fields::default();
    if ids.len() > MAX_NAMED {
        fields.bad::<()>("event_ids", format!("must be at most {MAX_NAMED}"));
    }
    let mut events: Vec<Uuid> = Vec::with_capacity(ids.len().min(MAX_NAMED));
    for (n, id) in ids.iter().take(MAX_NAMED).enumerate() {
        events.extend(fields.id::<EventId>(&format!("event_ids[{n}]"), id).map(EventId::uuid));
    }
    events.sort_unstable();
    events.dedup();
    fields.finish(|| Some(events))
}

/// What was applied before stays applied; calling again goes on with the rest.
fn not_now(error: &ApplyError) -> Status {
    tael_grpc::status::unavailable("postgres", error)
}

/// A source's handler, whatever its type.
trait Replay: Send + Sync {
    fn apply<'a>(
        &'a self,
        savepoint: &'a mut PgConnection,
        event: Event,
    ) -> Pin<Box<dyn Future<Output = Result<(), ApplyError>> + Send + 'a>>;

    fn applied(&self);
}

struct Replayer<H> {
    name: &'static str,
    source: &'static str,
    handler: Arc<H>,
}

impl<H: Handler> Replay for Replayer<H> {
    fn apply<'a>(
        &'a self,
        savepoint: &'a mut PgConnection,
        event: Event,
    ) -> Pin<Box<dyn Future<Output = Result<(), ApplyError>> + Send + 'a>> {
        Box::pin(async move {
            match Received::if_handled(&*self.handler, self.name, self.source, event) {
                Some(received) => {
                    // Instead of a batch: the call that applies it again.
                    tael_telemetry::link(&received.span, &Span::current());
                    apply_one(&*self.handler, savepoint, &received).await
                }
                // This build has no use for it any more.
                None => Ok(()),
            }
        })
    }

    fn applied(&self) {
        self.handler.applied();
    }
}
