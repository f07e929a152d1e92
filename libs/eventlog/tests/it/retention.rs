use std::num::NonZeroU16;
use std::sync::atomic::{AtomicUsize, Ordering};

use tael_grpc::status::reason;
use tael_proto::event::v1::{Cursor, ReadEventsRequest, RemoveConsumerRequest};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::consume::{Noting, consumer, noted, target};
use crate::source::{Source, names};

const MONTH: Option<NonZeroU16> = NonZeroU16::new(30);

async fn left(source: &Source) -> Vec<String> {
    sqlx::query_scalar("select aggregate_id from event_log order by tx, seq")
        .fetch_all(&source.database.pool)
        .await
        .unwrap()
}

async fn prune(source: &Source) -> u64 {
    // Transactions of other tests on the server may hold back for a moment what can be removed.
    tael_testkit::eventually("the horizon to pass", async || {
        let passed: bool = sqlx::query_scalar(
            "select not exists (select from event_log where tx >= pg_snapshot_xmin(pg_current_snapshot()))",
        )
        .fetch_one(&source.database.pool)
        .await
        .unwrap();
        passed.then_some(())
    })
    .await;
    source.log.prune_once().await.unwrap()
}

fn assert_removed(refused: &Status, last: Cursor) {
    assert_eq!(refused.code(), Code::OutOfRange);
    assert_eq!(reason(refused).as_deref(), Some("EVENTS_REMOVED"));
    let metadata = refused.get_details_error_info().unwrap().metadata;
    assert_eq!(metadata["transaction"], last.transaction.to_string());
    assert_eq!(metadata["sequence"], last.sequence.to_string());
}

#[tokio::test]
async fn old_events_are_removed_and_a_reader_before_them_is_told() {
    let source = Source::start_keeping(MONTH).await;
    source.commit_long_ago(&["a", "b"]).await;
    source.commit(&["young"]).await;
    let events = source.read_all(3).await;
    assert_eq!(prune(&source).await, 2);
    assert_eq!(left(&source).await, ["young"]);
    assert_eq!(prune(&source).await, 0);

    let last = events[1].cursor.unwrap();
    for before in [None, events[0].cursor] {
        assert_removed(&source.read(before, 0, 0).await.unwrap_err(), last);
    }
    assert_removed(&source.read_as("new", None, 0, 10_000).await.unwrap_err(), last);
    assert_eq!(names(&source.read(Some(last), 0, 0).await.unwrap()), ["young"]);
    assert_eq!(source.read(events[2].cursor, 0, 0).await.unwrap(), []);
}

#[tokio::test]
async fn nothing_is_removed_that_is_to_be_kept_for_ever() {
    let source = Source::start().await;
    source.commit_long_ago(&["a"]).await;
    assert_eq!(prune(&source).await, 0);
    assert_eq!(left(&source).await, ["a"]);
}

#[tokio::test]
async fn only_a_beginning_of_the_log_is_removed() {
    let source = Source::start_keeping(MONTH).await;
    source.commit(&["a", "young", "b"]).await;
    sqlx::query(
        "update event_log set append_time = now() - interval '31 days' where aggregate_id <> 'young'",
    )
    .execute(&source.database.pool)
    .await
    .unwrap();
    assert_eq!(prune(&source).await, 1);
    assert_eq!(left(&source).await, ["young", "b"]);
}

#[tokio::test]
async fn what_a_consumer_has_not_applied_stays_until_it_has_or_is_removed() {
    let source = Source::start_keeping(MONTH).await;
    source.commit_long_ago(&["a", "b", "c"]).await;
    let events = source.read_as("slow", None, 0, 0).await.unwrap();
    source.read_as("quick", events[1].cursor, 0, 0).await.unwrap();
    assert_eq!(prune(&source).await, 0, "the slow one has applied nothing");
    source.client().remove_consumer(RemoveConsumerRequest { consumer: "slow".to_owned() }).await.unwrap();
    assert_eq!(prune(&source).await, 2);
    assert_eq!(left(&source).await, ["c"]);
    assert_eq!(names(&source.read_as("quick", events[1].cursor, 0, 0).await.unwrap()), ["c"]);
}

/// What was only read, or passed over in memory, is not applied: after a crash the consumer asks for it again.
#[tokio::test]
async fn what_a_consumer_has_only_passed_over_stays() {
    let (source, target) = (Source::start_keeping(MONTH).await, target().await);
    source.commit_of_no_concern().await;
    source.commit_long_ago(&[] as &[&str]).await;
    let mut crashing = consumer(&source, &target, Noting::default());
    assert_eq!(crashing.run_once().await.unwrap(), 1);
    assert_eq!(crashing.run_once().await.unwrap(), 0, "it has told how far it is");
    drop(crashing);
    assert_eq!(prune(&source).await, 0);
    source.commit_long_ago(&["a"]).await;
    let mut again = consumer(&source, &target, Noting::default());
    while noted(&target.pool).await.is_empty() {
        assert!(
            again.run_once().await.unwrap() > 0,
            "what it had only passed over and what follows are there"
        );
    }
    assert_eq!(noted(&target.pool).await, ["a"]);
}

/// It needs nothing of what is left, and would otherwise hold the log for ever.
#[tokio::test]
async fn a_consumer_that_came_too_late_holds_nothing() {
    let source = Source::start_keeping(MONTH).await;
    source.commit_long_ago(&["a"]).await;
    let last = source.read_as("early", None, 0, 0).await.unwrap()[0].cursor;
    source.client().remove_consumer(RemoveConsumerRequest { consumer: "early".to_owned() }).await.unwrap();
    assert_eq!(prune(&source).await, 1);
    assert_removed(&source.read_as("late", None, 0, 0).await.unwrap_err(), last.unwrap());
    assert_eq!(source.consumers().await, []);
    source.commit_long_ago(&["b"]).await;
    assert_eq!(prune(&source).await, 1);
}

#[tokio::test]
async fn the_head_is_known_when_everything_is_removed() {
    let source = Source::start_keeping(MONTH).await;
    let head = async |after| {
        let request = ReadEventsRequest { after, ..ReadEventsRequest::default() };
        source.client().read_events(request).await.map(|page| page.into_inner().head_sequence)
    };
    assert_eq!(head(None).await.unwrap(), 0);
    source.commit_long_ago(&["a", "b"]).await;
    assert_eq!(head(None).await.unwrap(), 2);
    let last = source.read(None, 0, 0).await.unwrap()[1].cursor;
    assert_eq!(head(last).await.unwrap(), 2);
    assert_eq!(prune(&source).await, 2);
    assert_eq!(head(last).await.unwrap(), 2);
}

/// A running transaction may yet append before what looks like the log's beginning.
#[tokio::test]
async fn nothing_is_removed_behind_which_an_event_may_still_appear() {
    let source = Source::start_keeping(MONTH).await;
    let mut older = source.database.pool.begin().await.unwrap();
    source.append_in(&mut older, "older").await;
    source.commit_long_ago(&["younger"]).await;
    assert_eq!(source.log.prune_once().await.unwrap(), 0);
    older.commit().await.unwrap();
    assert_eq!(names(&source.read_all(2).await), ["older", "younger"]);
}

/// Writers append what is old at once, two replicas remove as fast as they can, and consumers that are quick or slow
/// read all the while: each of them gets everything, and at the end nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn consumers_lose_nothing_to_retention_that_races_with_them() {
    const EVENTS: usize = 400;
    let source = Source::start_keeping(MONTH).await;
    sqlx::query("alter table event_log alter append_time set default now() - interval '31 days'")
        .execute(&source.database.pool)
        .await
        .unwrap();
    let removed = AtomicUsize::new(0);
    let consumers = ["quick", "middling", "slow"];
    for name in consumers {
        source.read_as(name, None, 0, 0).await.unwrap();
    }
    let write = async {
        for batch in 0..EVENTS / 4 {
            source.commit(&(0..4).map(|n| format!("{batch}/{n}")).collect::<Vec<_>>()).await;
        }
    };
    let consume = async |name: &str, limit: u32| {
        let (mut after, mut seen) = (None, Vec::new());
        while seen.len() < EVENTS {
            let events = source.read_as(name, after, limit, 10_000).await.unwrap();
            assert!(!events.is_empty(), "{name} waited in vain after {}", seen.len());
            after = events.last().unwrap().cursor;
            seen.extend(events.into_iter().map(|event| event.aggregate_id));
        }
        // Said until it is stored, and a little longer for the others.
        while removed.load(Ordering::Relaxed) < EVENTS {
            assert_eq!(source.read_as(name, after, limit, 100).await.unwrap(), []);
        }
        seen
    };
    let replica = async || {
        while removed.load(Ordering::Relaxed) < EVENTS {
            let count = source.log.prune_once().await.unwrap();
            removed.fetch_add(usize::try_from(count).unwrap(), Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    };
    let ((), quick, middling, slow, (), ()) = tokio::join!(
        write,
        consume("quick", 1000),
        consume("middling", 20),
        consume("slow", 3),
        replica(),
        replica()
    );
    assert_eq!(quick, middling);
    assert_eq!(quick, slow);
    assert_eq!(quick.iter().collect::<std::collections::HashSet<_>>().len(), EVENTS);
    assert_eq!(left(&source).await, [] as [&str; 0]);
}
