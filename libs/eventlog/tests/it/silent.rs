//! A database that falls silent: nobody tells a consumer that its connection is dead.

use std::sync::{Arc, Mutex};

use sqlx::{Connection as _, PgConnection, PgPool};
use tael_eventlog::{ApplyError, Consumer, Handler, Received};
use tael_proto::event::v1::payload::Kind;
use tael_testkit::{Link, eventually};
use tokio_util::sync::CancellationToken;

use crate::consume::{Noting, noted, target};
use crate::source::{Database, Source};

/// Notes what it is given; the first time, the database falls silent while it does.
struct Freezing {
    noting: Noting,
    link: Mutex<Option<Link>>,
    /// Keeps new connections possible.
    frozen: Arc<Mutex<Option<Link>>>,
}

impl Handler for Freezing {
    fn handles(&self, _: &Kind) -> bool {
        true
    }

    async fn apply(&self, tx: &mut PgConnection, events: &[Received]) -> Result<(), ApplyError> {
        if let Some(link) = self.link.lock().unwrap().take() {
            link.freeze();
            *self.frozen.lock().unwrap() = Some(link);
        }
        self.noting.apply(tx, events).await
    }
}

/// The target's database over a link.
async fn over_a_link(target: &Database) -> (Link, PgPool) {
    let (link, url) = target.database.link().await;
    (link, tael_postgres::connect(&url, "test", 4).unwrap())
}

#[tokio::test]
async fn a_batch_whose_connection_fell_silent_is_applied_over_another_one() {
    let (source, target) = (Source::start().await, target().await);
    let (link, pool) = over_a_link(&target).await;
    let frozen = Arc::default();
    let handler =
        Freezing { noting: Noting::default(), link: Mutex::new(Some(link)), frozen: Arc::clone(&frozen) };
    let consumer = Consumer::new("target", "source", source.channel.clone(), pool, handler);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(consumer.run(shutdown.clone()));
    source.commit(&["a", "b"]).await;
    eventually("the silence", async || frozen.lock().unwrap().is_some().then_some(())).await;
    // The server notices in its time that the client of an open transaction is gone; no need to wait for that.
    let lost = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                where datname = current_database() and state = 'idle in transaction'";
    let ended: i64 = sqlx::query_scalar(lost).fetch_one(&target.pool).await.unwrap();
    assert_eq!(ended, 1);
    eventually("the batch", async || (noted(&target.pool).await == ["a", "b"]).then_some(())).await;
    source.commit(&["c"]).await;
    eventually("the next", async || (noted(&target.pool).await == ["a", "b", "c"]).then_some(())).await;
    shutdown.cancel();
    running.await.unwrap();
}

/// The commit happens, and its answer does not come: the consumer must find out where it stands.
#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_not_done_twice() {
    let (source, target) = (Source::start().await, target().await);
    // A commit waits for whoever has the lock.
    for statement in [
        "create function wait() returns trigger language plpgsql as
         $$ begin perform pg_advisory_xact_lock_shared(1); return null; end $$",
        "create constraint trigger wait after insert on noted deferrable initially deferred
         for each row execute function wait()",
    ] {
        sqlx::query(statement).execute(&target.pool).await.unwrap();
    }
    let mut holding = target.pool.acquire().await.unwrap();
    let mut holding = holding.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(1)").execute(&mut *holding).await.unwrap();

    let (link, pool) = over_a_link(&target).await;
    let consumer = Consumer::new("target", "source", source.channel.clone(), pool, Noting::default());
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(consumer.run(shutdown.clone()));
    source.commit(&["a"]).await;
    eventually("the commit to wait", async || {
        let waiting = "select count(*) from pg_locks
                       where locktype = 'advisory' and not granted
                             and database = (select oid from pg_database where datname = current_database())";
        let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&target.pool).await.unwrap();
        (waiting == 1).then_some(())
    })
    .await;
    link.freeze();
    holding.rollback().await.unwrap();
    eventually("the commit", async || (noted(&target.pool).await == ["a"]).then_some(())).await;
    source.commit(&["b"]).await;
    eventually("what follows", async || noted(&target.pool).await.contains(&"b".to_owned()).then_some(()))
        .await;
    assert_eq!(noted(&target.pool).await, ["a", "b"]);
    shutdown.cancel();
    running.await.unwrap();
}
