//! Logs of other services, written by the test.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tael_ids::{EventId, MerchantId};
use tael_proto::event::v1::event_log_service_server::{EventLogService, EventLogServiceServer};
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{Cursor, Event, Payload, ReadEventsRequest, ReadEventsResponse};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

/// When the events of the tests occurred: 2026-03-01T08:00:00Z.
pub(crate) const OCCURRED: i64 = 1_772_352_000;

/// One service's log.
#[derive(Clone, Default)]
pub(crate) struct FakeLog {
    events: Arc<Mutex<Vec<Event>>>,
    appended: Arc<Notify>,
    read_to: Arc<Mutex<u64>>,
}

impl FakeLog {
    pub(crate) async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(EventLogServiceServer::new(self.clone()))
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        url
    }

    /// Appends an event and returns its id.
    pub(crate) fn append(&self, merchant_id: MerchantId, kind: Kind) -> String {
        self.append_traced(merchant_id, kind, "")
    }

    pub(crate) fn append_traced(&self, merchant_id: MerchantId, kind: Kind, traceparent: &str) -> String {
        let event_id = EventId::new().to_string();
        let mut events = self.events.lock().unwrap();
        let sequence = events.len() as u64 + 1;
        events.push(Event {
            event_id: event_id.clone(),
            cursor: Some(Cursor { transaction: 7, sequence }),
            merchant_id: merchant_id.to_string(),
            aggregate_id: "agg_1".to_owned(),
            occur_time: Some(prost_types::Timestamp { seconds: OCCURRED, nanos: 0 }),
            traceparent: traceparent.to_owned(),
            payload: Some(Payload { kind: Some(kind) }),
        });
        drop(events);
        self.appended.notify_waiters();
        event_id
    }

    /// Waits until the service has applied everything that was appended: it asks for what comes after.
    pub(crate) async fn consumed(&self) {
        let all = self.events.lock().unwrap().len() as u64;
        tael_testkit::eventually("the log to be consumed", || async {
            (*self.read_to.lock().unwrap() >= all).then_some(())
        })
        .await;
    }
}

#[tonic::async_trait]
impl EventLogService for FakeLog {
    async fn read_events(
        &self,
        request: Request<ReadEventsRequest>,
    ) -> Result<Response<ReadEventsResponse>, Status> {
        let request = request.into_inner();
        let after = request.after.map_or(0, |c| c.sequence);
        {
            let mut read_to = self.read_to.lock().unwrap();
            *read_to = after.max(*read_to);
        }
        let wait = tokio::time::sleep(Duration::from_millis(u64::from(request.wait_ms)));
        tokio::pin!(wait);
        loop {
            let appended = self.appended.notified();
            let events: Vec<Event> =
                self.events.lock().unwrap().iter().skip(usize::try_from(after).unwrap()).cloned().collect();
            if !events.is_empty() || wait.is_elapsed() {
                return Ok(Response::new(ReadEventsResponse { events }));
            }
            tokio::select! { () = appended => {} () = &mut wait => {} }
        }
    }
}
