//! The log's gRPC service.

use std::time::Duration;

use tael_grpc::fields::Fields;
use tael_grpc::status;
use tael_proto::event::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use tael_proto::event::v1::{
    Cursor, ListConsumersRequest, ListConsumersResponse, ReadEventsRequest, ReadEventsResponse,
    RemoveConsumerRequest, RemoveConsumerResponse,
};
use tael_proto::r#type::v1::ErrorReason;
use tokio::time::Instant;
use tonic::{Code, Request, Response, Status};

use crate::log::EventLog;
use crate::read::{Page, ReadError};

const DEFAULT_LIMIT: u32 = 500;
const MAX_LIMIT: u32 = 1000;
const MAX_WAIT_MS: u32 = 30_000;
const MAX_NAME: usize = 64;
/// How often a waiting reader looks at the table: soon after it was woken, for an older transaction may hide what
/// was just committed; then ever more seldom, for what other replicas append.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_millis(200);

/// A reader that wants to be remembered.
struct Named {
    consumer: String,
    applied: Cursor,
}

impl EventLog {
    /// Returns the gRPC service of this log.
    pub fn server(&self) -> EventLogServiceServer<Self> {
        EventLogServiceServer::new(self.clone())
    }

    async fn read_or_wait(
        &self,
        after: Cursor,
        limit: u32,
        wait: Duration,
        reader: Option<&Named>,
    ) -> Result<Page, ReadError> {
        let give_up = Instant::now() + wait;
        let mut pause = LAST_LOOK;
        loop {
            // Before the events are read: from then on retention leaves them alone. Again while it waits, for what it
            // said may have come too soon after the last time to be stored.
            if let Some(reader) = reader {
                self.registry().note(&reader.consumer, reader.applied).await;
            }
            // Registered before the look, so that an append in between is not missed.
            let appended = self.appended();
            let page = self.read(after, limit).await?;
            if !page.events.is_empty() || Instant::now() >= give_up {
                return Ok(page);
            }
            tokio::select! {
                () = appended => pause = FIRST_LOOK,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LAST_LOOK),
                () = tokio::time::sleep_until(give_up) => {}
                // Not another look: the database may be closed by now.
                () = self.shutdown() => return Ok(page),
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
        let reader = named(&mut fields, &request.consumer, request.applied.unwrap_or_default());
        let (limit, wait_ms) = fields.finish(|| Some((limit?, wait_ms?)))?;
        let after = request.after.unwrap_or_default();
        let wait = Duration::from_millis(u64::from(wait_ms));
        let read = self.read_or_wait(after, limit, wait, reader.as_ref()).await;
        if let (Err(ReadError::Removed(last)), Some(reader)) = (&read, &reader) {
            let forgotten = self.registry().behind_retention(&reader.consumer, *last).await;
            forgotten.map_err(|e| tael_postgres::status(&e))?;
        }
        let page = read.map_err(|error| refusal(&error))?;
        Ok(Response::new(ReadEventsResponse { events: page.events, head_sequence: page.head_sequence }))
    }

    async fn list_consumers(
        &self,
        _: Request<ListConsumersRequest>,
    ) -> Result<Response<ListConsumersResponse>, Status> {
        let consumers = self.registry().list().await.map_err(|e| tael_postgres::status(&e))?;
        Ok(Response::new(ListConsumersResponse { consumers }))
    }

    async fn remove_consumer(
        &self,
        request: Request<RemoveConsumerRequest>,
    ) -> Result<Response<RemoveConsumerResponse>, Status> {
        let mut fields = Fields::default();
        let name = fields.text("consumer", &request.get_ref().consumer, 1..=MAX_NAME);
        let name = fields.finish(|| name)?;
        self.registry().remove(&name).await.map_err(|e| tael_postgres::status(&e))?;
        Ok(Response::new(RemoveConsumerResponse {}))
    }
}

/// Reads who reads; none for a reader that is not to be remembered, or after a field was noted as bad.
fn named(fields: &mut Fields, consumer: &str, applied: Cursor) -> Option<Named> {
    if consumer.is_empty() {
        return None;
    }
    let consumer = fields.text("consumer", consumer, 1..=MAX_NAME);
    // No log gives such a cursor; retention must not take it for one behind everything.
    if i64::try_from(applied.transaction).is_err() || i64::try_from(applied.sequence).is_err() {
        return fields.bad("applied", "is not a cursor of this log");
    }
    Some(Named { consumer: consumer?, applied })
}

fn refusal(error: &ReadError) -> Status {
    match error {
        ReadError::Removed(last) => status::error(
            Code::OutOfRange,
            status::SHARED_DOMAIN,
            ErrorReason::EventsRemoved.as_str_name(),
            "events after this cursor were removed",
            [("transaction", last.transaction.to_string()), ("sequence", last.sequence.to_string())],
        ),
        ReadError::Database(error) => tael_postgres::status(error),
    }
}
