use std::time::Duration;

use tael_eventlog::EventLog;
use tael_grpc::status::bad_fields;
use tael_proto::event::v1::event_log_service_server::EventLogService as _;
use tael_proto::event::v1::{Cursor, ReadEventsRequest, RemoveConsumerRequest};
use tael_testkit::eventually;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request};

use crate::consume::{Noting, consumer, noted, target};
use crate::source::Source;

/// How often the row of a consumer was written, told by its version.
async fn version(source: &Source) -> String {
    sqlx::query_scalar("select xmin::text from event_consumer")
        .fetch_one(&source.database.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_consumer_that_names_itself_is_listed_with_what_it_has_applied() {
    let source = Source::start().await;
    source.commit(&["a", "b", "c"]).await;
    assert_eq!(source.read(None, 0, 0).await.unwrap().len(), 3);
    assert_eq!(source.consumers().await, [], "a nameless reader is not remembered");

    let events = source.read_as("settlement", None, 2, 0).await.unwrap();
    source.read_as("audit", events[1].cursor, 2, 0).await.unwrap();
    let [audit, settlement] = source.consumers().await.try_into().unwrap();
    assert_eq!((audit.consumer.as_str(), audit.applied, audit.lag), ("audit", events[1].cursor, 1));
    assert_eq!(
        (settlement.consumer.as_str(), settlement.applied, settlement.lag),
        ("settlement", Some(Cursor::default()), 3)
    );
    assert!(settlement.seen_time.is_some());
}

#[tokio::test]
async fn progress_is_stored_in_time_but_not_at_every_read_and_never_goes_back() {
    let source = Source::start().await;
    source.commit(&["a", "b", "c"]).await;
    let events = source.read(None, 0, 0).await.unwrap();
    source.read_as("reader", None, 0, 0).await.unwrap();
    let first = version(&source).await;
    for _ in 0..50 {
        source.read_as("reader", events[1].cursor, 0, 0).await.unwrap();
    }
    assert_eq!(version(&source).await, first, "fifty reads within a moment wrote nothing");
    // It is stored while the reader waits, for nobody may come again for long.
    assert_eq!(source.read_as("reader", events[2].cursor, 0, 1_500).await.unwrap(), []);
    let applied = source.consumers().await[0].applied;
    assert_eq!(applied, events[2].cursor);

    // Another process knows nothing of that, as after a restart.
    let other = EventLog::new(source.database.pool.clone(), CancellationToken::new());
    let back = ReadEventsRequest {
        consumer: "reader".to_owned(),
        applied: events[0].cursor,
        ..ReadEventsRequest::default()
    };
    other.read_events(Request::new(back)).await.unwrap();
    assert_ne!(version(&source).await, first);
    assert_eq!(source.consumers().await[0].applied, applied);
}

#[tokio::test]
async fn a_consumer_that_can_t_be_stored_reads_all_the_same() {
    let source = Source::start().await;
    source.commit(&["a"]).await;
    sqlx::query("alter table event_consumer rename to gone").execute(&source.database.pool).await.unwrap();
    assert_eq!(source.read_as("reader", None, 0, 0).await.unwrap().len(), 1);
    sqlx::query("alter table gone rename to event_consumer").execute(&source.database.pool).await.unwrap();
    source.read_as("reader", None, 0, 0).await.unwrap();
    assert_eq!(source.consumers().await.len(), 1, "it is tried again at the next read");
}

#[tokio::test]
async fn a_removed_consumer_is_forgotten_until_it_reads_again() {
    let source = Source::start().await;
    source.read_as("reader", None, 0, 0).await.unwrap();
    let remove = |name: &str| {
        let (mut client, consumer) = (source.client(), name.to_owned());
        async move { client.remove_consumer(RemoveConsumerRequest { consumer }).await }
    };
    remove("unknown").await.unwrap();
    assert_eq!(source.consumers().await.len(), 1);
    remove("reader").await.unwrap();
    assert_eq!(source.consumers().await, []);
    source.read_as("reader", None, 0, 0).await.unwrap();
    assert_eq!(source.consumers().await.len(), 1);
    for bad in ["", " reader", &"x".repeat(65)] {
        let refused = remove(bad).await.unwrap_err();
        assert_eq!(
            (refused.code(), bad_fields(&refused)),
            (Code::InvalidArgument, vec!["consumer".to_owned()])
        );
    }
}

#[tokio::test]
async fn names_and_cursors_that_can_t_be_are_refused() {
    let source = Source::start().await;
    for (consumer, applied, bad) in [
        ("x".repeat(65), Cursor::default(), "consumer"),
        ("a\nb".to_owned(), Cursor::default(), "consumer"),
        ("reader".to_owned(), Cursor { transaction: u64::MAX, sequence: 0 }, "applied"),
        ("reader".to_owned(), Cursor { transaction: 0, sequence: 1 << 63 }, "applied"),
    ] {
        let request = ReadEventsRequest { consumer, applied: Some(applied), ..ReadEventsRequest::default() };
        let refused = source.client().read_events(request).await.unwrap_err();
        assert_eq!(bad_fields(&refused), [bad]);
    }
    assert_eq!(source.consumers().await, []);
}

/// The last event does not concern the consumer: nothing but time makes it store its cursor.
#[tokio::test]
async fn what_is_of_no_concern_is_applied_in_time_when_the_log_goes_quiet() {
    let (source, target) = (Source::start().await, target().await);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(consumer(&source, &target, Noting::default()).run(shutdown.clone()));
    source.commit(&["a"]).await;
    eventually("the first effect", async || (!noted(&target.pool).await.is_empty()).then_some(())).await;
    source.commit_of_no_concern().await;
    let last = source.read_all(2).await[1].cursor;
    eventually("the source to hear of it", async || {
        let consumers = source.consumers().await;
        (consumers[0].consumer == "target" && consumers[0].applied == last && consumers[0].lag == 0)
            .then_some(())
    })
    .await;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), running).await.unwrap().unwrap();
}
