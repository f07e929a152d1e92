//! A log that is served, and a database that consumes it.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool};
use tael_eventlog::{EventLog, NewEvent};
use tael_grpc::client::{Channel, connect};
use tael_grpc::server::{Limits, Readiness, bind};
use tael_ids::MerchantId;
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{
    Cursor, Event, ListConsumersRequest, LogConsumer, MerchantApproved, MerchantRegistered, ReadEventsRequest,
};
use tael_testkit::TestDatabase;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;

/// A database with the log's schema.
pub(crate) struct Database {
    pub(crate) pool: PgPool,
    // Dropped after the pool.
    pub(crate) database: TestDatabase,
}

impl Database {
    pub(crate) async fn create() -> Self {
        let database = TestDatabase::create().await;
        let pool = database.pool();
        tael_postgres::migrate(&pool, &tael_eventlog::MIGRATOR).await.unwrap();
        Self { pool, database }
    }
}

/// A service's log. It serves until it is dropped.
pub(crate) struct Source {
    pub(crate) database: Database,
    pub(crate) log: EventLog,
    /// Answers the waiting readers.
    pub(crate) draining: CancellationToken,
    pub(crate) channel: Channel,
    stop: CancellationToken,
}

impl Source {
    pub(crate) async fn start() -> Self {
        Self::start_keeping(None).await
    }

    /// A log that keeps its events for so many days.
    pub(crate) async fn start_keeping(days: Option<NonZeroU16>) -> Self {
        let database = Database::create().await;
        let (draining, stop) = (CancellationToken::new(), CancellationToken::new());
        let log = EventLog::new(database.pool.clone(), draining.clone()).with_retention(days);
        let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Limits::default()).await.unwrap();
        let channel = connect(&format!("http://{}", bound.addr())).unwrap();
        let stopped = stop.clone().cancelled_owned();
        let routes = Routes::new(log.server());
        tokio::spawn(bound.serve(routes, Readiness::default(), stopped));
        Self { database, log, draining, channel, stop }
    }

    /// Appends one event for each name in one transaction and wakes the readers. What two transactions append may be
    /// read in two parts, while a transaction of another database lies between them.
    pub(crate) async fn commit(&self, names: &[impl AsRef<str>]) {
        let mut tx = self.database.pool.begin().await.unwrap();
        let events: Vec<_> = names.iter().map(|name| event(name.as_ref())).collect();
        self.log.append(&mut tx, &events).await.unwrap();
        tx.commit().await.unwrap();
        self.log.wake();
    }

    /// Appends an event that the tests' consumers pass over.
    pub(crate) async fn commit_of_no_concern(&self) {
        let kind = Kind::MerchantRegistered(MerchantRegistered::default());
        let mut tx = self.database.pool.begin().await.unwrap();
        self.log.append(&mut tx, &[NewEvent { kind, ..event("passed over") }]).await.unwrap();
        tx.commit().await.unwrap();
        self.log.wake();
    }

    /// Appends one event in a transaction of the caller's.
    pub(crate) async fn append_in(&self, tx: &mut PgConnection, name: &str) {
        self.log.append(tx, &[event(name)]).await.unwrap();
    }

    /// Appends events and makes all of the log old.
    pub(crate) async fn commit_long_ago(&self, names: &[impl AsRef<str>]) {
        self.commit(names).await;
        sqlx::query("update event_log set append_time = now() - interval '400 days'")
            .execute(&self.database.pool)
            .await
            .unwrap();
    }

    /// A client of the log.
    pub(crate) fn client(&self) -> EventLogServiceClient<Channel> {
        EventLogServiceClient::new(self.channel.clone())
    }

    /// Reads as a consumer that is to be remembered.
    pub(crate) async fn read_as(
        &self,
        consumer: &str,
        after: Option<Cursor>,
        limit: u32,
        wait_ms: u32,
    ) -> Result<Vec<Event>, Status> {
        let consumer = consumer.to_owned();
        let request = ReadEventsRequest { after, limit, wait_ms, consumer, applied: after };
        Ok(self.client().read_events(request).await?.into_inner().events)
    }

    /// The registered consumers.
    pub(crate) async fn consumers(&self) -> Vec<LogConsumer> {
        self.client().list_consumers(ListConsumersRequest {}).await.unwrap().into_inner().consumers
    }

    /// Reads the whole log, which has so many events, in as many parts as it comes.
    pub(crate) async fn read_all(&self, count: usize) -> Vec<Event> {
        let mut seen: Vec<Event> = Vec::new();
        while seen.len() < count {
            let page = self.read(seen.last().and_then(|event| event.cursor), 0, 10_000).await.unwrap();
            assert!(!page.is_empty(), "waited in vain after {} of {count}", seen.len());
            seen.extend(page);
        }
        seen
    }

    /// Reads over gRPC.
    pub(crate) async fn read(
        &self,
        after: Option<Cursor>,
        limit: u32,
        wait_ms: u32,
    ) -> Result<Vec<Event>, Status> {
        let mut client = self.client();
        let mut request =
            tonic::Request::new(ReadEventsRequest { after, limit, wait_ms, ..ReadEventsRequest::default() });
        request.set_timeout(std::time::Duration::from_secs(30));
        Ok(client.read_events(request).await?.into_inner().events)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.draining.cancel();
        self.stop.cancel();
    }
}

/// An event that is known by the name of its aggregate.
pub(crate) fn event(name: &str) -> NewEvent {
    let merchant_id = MerchantId::new();
    NewEvent {
        merchant_id,
        aggregate_id: name.to_owned(),
        kind: Kind::MerchantApproved(MerchantApproved { merchant_id: merchant_id.to_string() }),
        occur_time: Timestamp::from_microsecond(1_790_000_000_123_456).unwrap(),
        traceparent: None,
    }
}

pub(crate) fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.aggregate_id.as_str()).collect()
}
