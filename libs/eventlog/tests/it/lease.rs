use std::collections::HashSet;
use std::time::Duration;

use sqlx::{PgConnection, PgPool};
use tael_eventlog::{ApplyError, Handler, Received};
use tael_proto::event::v1::payload::Kind;
use tael_testkit::eventually;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::consume::{Noting, consumer, noted, target};
use crate::source::{Database, Source};

/// Notes which replica applied what.
struct Replica(&'static str);

impl Handler for Replica {
    fn handles(&self, _: &Kind) -> bool {
        true
    }

    async fn apply(&self, tx: &mut PgConnection, events: &[Received]) -> Result<(), ApplyError> {
        let names: Vec<String> =
            events.iter().map(|r| format!("{} {}", r.event.aggregate_id, self.0)).collect();
        sqlx::query("insert into noted (name) select * from unnest($1::text[])")
            .bind(&names)
            .execute(tx)
            .await?;
        Ok(())
    }
}

fn start(source: &Source, target: &Database, name: &'static str) -> (JoinHandle<()>, CancellationToken) {
    let shutdown = CancellationToken::new();
    (tokio::spawn(consumer(source, target, Replica(name)).run(shutdown.clone())), shutdown)
}

async fn holder(pool: &PgPool) -> Option<String> {
    sqlx::query_scalar("select holder::text from event_cursor where lease_until > now()")
        .fetch_optional(pool)
        .await
        .unwrap()
        .flatten()
}

/// Appends an event and waits until it had its effect; returns which replica gave it.
async fn who_applies(source: &Source, target: &Database, name: &str) -> String {
    source.commit(&[name]).await;
    eventually("the effect", async || {
        let noted = noted(&target.pool).await;
        noted.iter().find_map(|line| line.strip_prefix(&format!("{name} ")).map(str::to_owned))
    })
    .await
}

#[tokio::test]
async fn one_replica_works_while_the_other_stands_by() {
    let (source, target) = (Source::start().await, target().await);
    let (first, stop_first) = start(&source, &target, "first");
    eventually("a holder", async || holder(&target.pool).await).await;
    let (second, stop_second) = start(&source, &target, "second");
    for n in 0..30 {
        assert_eq!(who_applies(&source, &target, &n.to_string()).await, "first");
    }
    let began = Instant::now();
    stop_first.cancel();
    first.await.unwrap();
    assert_eq!(who_applies(&source, &target, "after").await, "second");
    assert!(began.elapsed() < Duration::from_secs(2), "it went on at once, not when the lease ended");
    stop_second.cancel();
    second.await.unwrap();
    assert_eq!(holder(&target.pool).await, None);
}

#[tokio::test]
async fn a_dead_replica_s_lease_ends_by_itself() {
    let (source, target) = (Source::start().await, target().await);
    let (first, _) = start(&source, &target, "first");
    assert_eq!(who_applies(&source, &target, "a").await, "first");
    let (second, stop) = start(&source, &target, "second");
    first.abort();
    let began = Instant::now();
    assert_eq!(who_applies(&source, &target, "b").await, "second");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    stop.cancel();
    second.await.unwrap();
}

/// A holder that only waits renews its lease, and with few commits.
#[tokio::test]
async fn a_lease_is_kept_while_nothing_happens() {
    let (source, target) = (Source::start().await, target().await);
    let (first, stop) = start(&source, &target, "first");
    let taken = eventually("a holder", async || holder(&target.pool).await).await;
    let mut versions = HashSet::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(3_500) {
        assert_eq!(holder(&target.pool).await.as_ref(), Some(&taken));
        let version: String =
            sqlx::query_scalar("select xmin::text from event_cursor").fetch_one(&target.pool).await.unwrap();
        versions.insert(version);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!((3..=5).contains(&versions.len()), "{} versions", versions.len());
    stop.cancel();
    first.await.unwrap();
}

/// The lease is taken from its holder again and again, so that both replicas believe that it is theirs.
#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_work_by_mistake_give_each_event_its_effect_once() {
    let (source, target) = (Source::start().await, target().await);
    let (first, stop_first) = start(&source, &target, "first");
    let (second, stop_second) = start(&source, &target, "second");
    let mut expected = Vec::new();
    let both = |noted: &[String]| {
        ["first", "second"].iter().all(|who| noted.iter().filter(|line| line.ends_with(who)).count() > 20)
    };
    let began = Instant::now();
    while !both(&noted(&target.pool).await) {
        assert!(began.elapsed() < Duration::from_secs(30), "the replicas never worked at once");
        for _ in 0..10 {
            sqlx::query("update event_cursor set holder = null, lease_until = null")
                .execute(&target.pool)
                .await
                .unwrap();
            let name = expected.len().to_string();
            source.commit(&[&name]).await;
            expected.push(name);
        }
    }
    eventually("all effects", async || (noted(&target.pool).await.len() >= expected.len()).then_some(()))
        .await;
    for (running, stop) in [(first, stop_first), (second, stop_second)] {
        stop.cancel();
        running.await.unwrap();
    }
    let noted = noted(&target.pool).await;
    let events: Vec<&str> = noted.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(events, expected, "each once and in order");
}

#[tokio::test]
async fn draining_by_hand_leaves_the_lease_alone() {
    let (source, target) = (Source::start().await, target().await);
    let mut drain = consumer(&source, &target, Noting::default());
    source.commit(&["a"]).await;
    drain.run_once().await.unwrap();
    assert_eq!(holder(&target.pool).await, None);
    assert_eq!(noted(&target.pool).await, ["a"]);
}
