use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{PgConnection, PgPool};
use tael_eventlog::{ApplyError, ConsumeError, Consumer, Handler, Received};
use tael_proto::event::v1::payload::Kind;
use tael_testkit::eventually;
use tokio_util::sync::CancellationToken;

use crate::source::{Database, Source};

/// Notes the names of the events. Nothing but the log's own care keeps it from noting one twice.
#[derive(Clone, Default)]
pub(crate) struct Noting {
    /// So many times it will say "not now" before it works.
    pub(crate) failures: Arc<AtomicU32>,
    /// How often it was told of a commit.
    pub(crate) commits: Arc<AtomicU32>,
}

impl Handler for Noting {
    fn handles(&self, kind: &Kind) -> bool {
        !matches!(kind, Kind::MerchantRegistered(_))
    }

    async fn apply(&self, tx: &mut PgConnection, events: &[Received]) -> Result<(), ApplyError> {
        let names: Vec<String> = events.iter().map(|received| received.event.aggregate_id.clone()).collect();
        sqlx::query("insert into noted (name) select * from unnest($1::text[])")
            .bind(&names)
            .execute(tx)
            .await?;
        let fails =
            self.failures.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        match fails {
            Ok(_) => Err(ApplyError::Transient(std::io::Error::other("as intended").into())),
            Err(_) => Ok(()),
        }
    }

    fn applied(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
    }
}

/// A database that notes what it consumes.
pub(crate) async fn target() -> Database {
    let target = Database::create().await;
    sqlx::query("create table noted (at bigint generated always as identity, name text not null check (name <> 'bad'))")
        .execute(&target.pool)
        .await
        .unwrap();
    target
}

pub(crate) async fn noted(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar("select name from noted order by at").fetch_all(pool).await.unwrap()
}

pub(crate) fn consumer<H: Handler>(source: &Source, target: &Database, handler: H) -> Consumer<H> {
    Consumer::new("target", "source", source.channel.clone(), target.pool.clone(), handler)
}

#[tokio::test]
async fn a_batch_takes_effect_with_its_cursor() {
    let (source, target) = (Source::start().await, target().await);
    source.commit(&["a", "b", "c"]).await;
    let handler = Noting::default();
    let mut consumer = consumer(&source, &target, handler.clone());
    assert_eq!(consumer.run_once().await.unwrap(), 3);
    assert_eq!(noted(&target.pool).await, ["a", "b", "c"]);
    assert_eq!(consumer.run_once().await.unwrap(), 0);
    assert_eq!(handler.commits.load(Ordering::Relaxed), 1, "an empty batch is no commit");
    source.commit(&["d"]).await;
    assert_eq!(consumer.run_once().await.unwrap(), 1);
    assert_eq!(noted(&target.pool).await, ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_new_consumer_begins_at_the_beginning() {
    let source = Source::start().await;
    source.commit(&["a", "b"]).await;
    for _ in 0..2 {
        let target = target().await;
        consumer(&source, &target, Noting::default()).run_once().await.unwrap();
        assert_eq!(noted(&target.pool).await, ["a", "b"]);
    }
}

#[tokio::test]
async fn what_fails_for_now_leaves_nothing_behind_and_is_tried_again() {
    let (source, target) = (Source::start().await, target().await);
    source.commit(&["a", "b"]).await;
    let handler = Noting { failures: Arc::new(AtomicU32::new(3)), ..Noting::default() };
    let mut consumer = consumer(&source, &target, handler.clone());
    let failed = consumer.run_once().await.unwrap_err();
    assert!(matches!(failed, ConsumeError::Apply(ApplyError::Transient(_))), "{failed:?}");
    assert_eq!(noted(&target.pool).await, [] as [&str; 0]);

    let shutdown = CancellationToken::new();
    let running = tokio::spawn(consumer.run(shutdown.clone()));
    eventually("both", async || (noted(&target.pool).await == ["a", "b"]).then_some(())).await;
    assert_eq!(handler.failures.load(Ordering::Relaxed), 0);
    shutdown.cancel();
    running.await.unwrap();
    let aside: i64 =
        sqlx::query_scalar("select count(*) from event_set_aside").fetch_one(&target.pool).await.unwrap();
    assert_eq!(aside, 0, "nothing is wrong with the events");
}

#[tokio::test]
async fn a_log_that_is_away_is_waited_for() {
    let target = target().await;
    let channel = tael_grpc::client::connect("http://127.0.0.1:1").unwrap();
    let mut consumer = Consumer::new("target", "source", channel, target.pool.clone(), Noting::default());
    assert!(matches!(consumer.run_once().await, Err(ConsumeError::Read(_))));
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(consumer.run(shutdown.clone()));
    shutdown.cancel();
    running.await.unwrap();
}

/// Two replicas all the time, a third that crashes: whatever they read at once takes effect once.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_apply_each_event_once_and_in_order() {
    let (source, target) = (Source::start().await, target().await);
    let shutdown = CancellationToken::new();
    let replica = || tokio::spawn(consumer(&source, &target, Noting::default()).run(shutdown.clone()));
    let (first, second, crashing) = (replica(), replica(), replica());
    let mut expected = Vec::new();
    for batch in 0..60 {
        let names: Vec<_> = (0..5).map(|n| format!("{batch}/{n}")).collect();
        source.commit(&names).await;
        expected.extend(names);
        if batch == 20 {
            eventually("the first effects", async || (!noted(&target.pool).await.is_empty()).then_some(()))
                .await;
            crashing.abort();
        }
    }
    eventually("all effects", async || (noted(&target.pool).await.len() >= expected.len()).then_some(()))
        .await;
    shutdown.cancel();
    first.await.unwrap();
    second.await.unwrap();
    let noted = noted(&target.pool).await;
    assert_eq!(noted.iter().collect::<HashSet<_>>().len(), noted.len(), "an effect happened twice");
    assert_eq!(noted, expected);
}

/// Two replicas, both of which have read on over events that are nobody's concern, of which the cursor in the database
/// knows nothing yet.
#[tokio::test]
async fn what_is_of_no_concern_is_passed_over_and_nothing_after_it_is_lost_or_doubled() {
    let (source, target) = (Source::start().await, target().await);
    let mut first = consumer(&source, &target, Noting::default());
    let mut second = consumer(&source, &target, Noting::default());
    source.commit(&["a"]).await;
    first.run_once().await.unwrap();
    source.commit_of_no_concern().await;
    assert_eq!(first.run_once().await.unwrap(), 1);
    // The second one takes its place where the first has stored it, and passes over the same event.
    assert_eq!(second.run_once().await.unwrap(), 1);
    source.commit(&["b"]).await;
    assert_eq!(first.run_once().await.unwrap(), 1);
    // It finds that the cursor was moved, and goes on from there.
    assert_eq!(second.run_once().await.unwrap(), 1);
    assert_eq!(second.run_once().await.unwrap(), 0);
    source.commit_of_no_concern().await;
    source.commit(&["c"]).await;
    while second.run_once().await.unwrap() > 0 {}
    while first.run_once().await.unwrap() > 0 {}
    assert_eq!(noted(&target.pool).await, ["a", "b", "c"]);
}

/// Full batches are read ahead while others are applied. What was read ahead of a batch that failed is read again.
#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_drained_in_order_whatever_fails_on_the_way() {
    let (source, target) = (Source::start().await, target().await);
    let names: Vec<_> = (0..4500).map(|n| if n == 1700 { "bad".to_owned() } else { n.to_string() }).collect();
    source.commit(&names).await;
    let handler = Noting { failures: Arc::new(AtomicU32::new(2)), ..Noting::default() };
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(consumer(&source, &target, handler.clone()).run(shutdown.clone()));
    eventually("the first batch", async || (noted(&target.pool).await.len() >= 1000).then_some(())).await;
    handler.failures.store(2, Ordering::Relaxed);
    eventually("the backlog", async || (noted(&target.pool).await.len() >= 4499).then_some(())).await;
    shutdown.cancel();
    running.await.unwrap();
    let expected: Vec<_> = names.into_iter().filter(|name| name != "bad").collect();
    assert_eq!(noted(&target.pool).await, expected);
    let aside: i64 =
        sqlx::query_scalar("select count(*) from event_set_aside").fetch_one(&target.pool).await.unwrap();
    assert_eq!(aside, 1);
}
