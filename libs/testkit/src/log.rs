//! Logs of services that are not there.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tael_ids::EventId;
use tael_proto::event::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use tael_proto::event::v1::{
    Cursor, Event, ListConsumersRequest, ListConsumersResponse, ReadEventsRequest, ReadEventsResponse,
    RemoveConsumerRequest, RemoveConsumerResponse,
};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Request, Response, Status};

use crate::PATIENCE;

/// What a real log takes a limit of 0 for.
const DEFAULT_LIMIT: u32 = 500;

/// A log that says what a test appends to it. Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct ScriptedLog(Arc<Script>);

#[derive(Debug, Default)]
struct Script {
    events: Mutex<Vec<Event>>,
    appended: Notify,
    /// The farthest sequence after which a reader waited for events; none before the first that did.
    asked_after: watch::Sender<Option<u64>>,
}

impl ScriptedLog {
    /// Appends an event and returns it as readers get it: with its cursor, and a new id if it had none.
    pub fn append(&self, event: Event) -> Event {
        self.append_all([event]).remove(0)
    }

    /// Appends events like [`ScriptedLog::append`], all at once: a reader who waits gets them in one batch, as far as
    /// its limit allows.
    pub fn append_all(&self, events: impl IntoIterator<Item = Event>) -> Vec<Event> {
        let mut appended: Vec<Event> = events.into_iter().collect();
        {
            let mut log = self.events();
            for (event, sequence) in appended.iter_mut().zip(log.len() as u64 + 1..) {
                event.cursor = Some(Cursor { transaction: 1, sequence });
                if event.event_id.is_empty() {
                    event.event_id = EventId::new().to_string();
                }
            }
            log.extend_from_slice(&appended);
        }
        self.0.appended.notify_waiters();
        appended
    }

    /// Returns how many events were appended.
    pub fn len(&self) -> usize {
        self.events().len()
    }

    /// Says whether nothing was appended.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until a reader waits for what comes after the last event: it has applied all that were appended before
    /// this call. One that does not wait reads ahead of what it applies, and does not count. Fails the test when no
    /// reader does.
    pub async fn consumed(&self) {
        let all = Some(self.len() as u64);
        let mut asked_after = self.0.asked_after.subscribe();
        let consumed = timeout(PATIENCE, asked_after.wait_for(|sequence| *sequence >= all)).await;
        assert!(consumed.is_ok(), "waited in vain for the log to be consumed");
    }

    /// Returns the gRPC service of this log.
    pub fn server(&self) -> EventLogServiceServer<Self> {
        EventLogServiceServer::new(self.clone())
    }

    fn events(&self) -> MutexGuard<'_, Vec<Event>> {
        self.0.events.lock().expect("nothing panics while it holds the events")
    }

    fn read(&self, after: u64, limit: u32) -> Vec<Event> {
        let after = usize::try_from(after).expect("a cursor of this log is a position in memory");
        self.events().iter().skip(after).take(limit as usize).cloned().collect()
    }
}

#[tonic::async_trait]
impl EventLogService for ScriptedLog {
    async fn read_events(
        &self,
        request: Request<ReadEventsRequest>,
    ) -> Result<Response<ReadEventsResponse>, Status> {
        let request = request.into_inner();
        let after = request.after.unwrap_or_default().sequence;
        let limit = if request.limit == 0 { DEFAULT_LIMIT } else { request.limit };
        let give_up = Instant::now() + Duration::from_millis(u64::from(request.wait_ms));
        self.0.asked_after.send_if_modified(|farthest| {
            let farther = request.wait_ms > 0 && *farthest < Some(after);
            if farther {
                *farthest = Some(after);
            }
            farther
        });
        loop {
            // Registered before the look, so that an append in between is not missed.
            let appended = self.0.appended.notified();
            tokio::pin!(appended);
            appended.as_mut().enable();
            let events = self.read(after, limit);
            if !events.is_empty() || timeout_at(give_up, appended).await.is_err() {
                return Ok(Response::new(ReadEventsResponse { events, head_sequence: self.len() as u64 }));
            }
        }
    }

    /// Nobody is remembered.
    async fn list_consumers(
        &self,
        _: Request<ListConsumersRequest>,
    ) -> Result<Response<ListConsumersResponse>, Status> {
        Ok(Response::new(ListConsumersResponse::default()))
    }

    async fn remove_consumer(
        &self,
        _: Request<RemoveConsumerRequest>,
    ) -> Result<Response<RemoveConsumerResponse>, Status> {
        Ok(Response::new(RemoveConsumerResponse::default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(log: &ScriptedLog, after: u64, limit: u32, wait_ms: u32) -> Vec<Event> {
        let after = Some(Cursor { transaction: 1, sequence: after });
        let request = Request::new(ReadEventsRequest { after, limit, wait_ms, ..Default::default() });
        log.read_events(request).await.unwrap().into_inner().events
    }

    #[tokio::test]
    async fn events_are_read_in_order_with_cursor_and_id() {
        let log = ScriptedLog::default();
        assert!(log.is_empty());
        assert_eq!(read(&log, 0, 10, 0).await, []);
        let first = log.append(Event::default());
        let named = Event { event_id: EventId::new().to_string(), ..Event::default() };
        let rest = log.append_all([named.clone(), Event::default()]);
        assert!(first.event_id.parse::<EventId>().is_ok());
        assert_eq!(rest[0].event_id, named.event_id);
        assert_eq!(rest[1].cursor, Some(Cursor { transaction: 1, sequence: 3 }));
        assert_eq!(log.len(), 3);
        assert_eq!(read(&log, 0, 1, 0).await, [first]);
        assert_eq!(read(&log, 1, 0, 0).await, rest);
        assert_eq!(read(&log, 3, 0, 1).await, []);
    }

    #[tokio::test]
    async fn a_reader_who_waits_gets_all_that_is_appended_at_once() {
        let log = ScriptedLog::default();
        let waiting = tokio::spawn({
            let log = log.clone();
            async move { read(&log, 0, 10, 20_000).await }
        });
        log.consumed().await; // the reader has asked
        let events = log.append_all([Event::default(), Event::default()]);
        assert_eq!(waiting.await.unwrap(), events);
    }

    #[tokio::test]
    async fn a_log_is_consumed_when_a_reader_waits_for_more_than_all() {
        let log = ScriptedLog::default();
        log.append_all([Event::default(), Event::default()]);
        read(&log, 1, 10, 1).await;
        read(&log, 2, 10, 0).await; // ahead
        tokio::select! {
            biased;
            () = log.consumed() => panic!("nobody waits after the second event"),
            () = std::future::ready(()) => {}
        }
        read(&log, 2, 10, 1).await;
        log.consumed().await;
    }
}
