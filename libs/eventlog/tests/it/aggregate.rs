//! What holds for the order of one aggregate's events, as the crate's documentation says.

use std::sync::Arc;

use sqlx::{PgConnection, PgPool};
use tael_testkit::eventually;

use crate::source::{Source, names};

async fn read(source: &Source, count: usize) -> Vec<String> {
    let events = eventually("the events", async || {
        let events = source.read(None, 0, 0).await.unwrap();
        (events.len() == count).then_some(events)
    })
    .await;
    names(&events).into_iter().map(str::to_owned).collect()
}

async fn lock_aggregate(tx: &mut PgConnection) {
    sqlx::query("select from aggregate for update").fetch_one(tx).await.unwrap();
}

async fn someone_waits(pool: &PgPool) {
    eventually("a transaction to wait for the lock", async || {
        sqlx::query_scalar::<_, bool>(
            "select exists (select from pg_stat_activity
                            where datname = current_database() and wait_event_type = 'Lock')",
        )
        .fetch_one(pool)
        .await
        .unwrap()
        .then_some(())
    })
    .await;
}

/// The second transaction begins first, waits for the first one at the aggregate's row, and both append.
async fn second_waits_for_first(second_writes_before: bool) -> Vec<String> {
    let source = Arc::new(Source::start().await);
    let pool = &source.database.pool;
    sqlx::raw_sql(
        "create table aggregate (id int); insert into aggregate values (1); create table other (id int)",
    )
    .execute(pool)
    .await
    .unwrap();
    let mut second = pool.begin().await.unwrap();
    sqlx::query("select 1").execute(&mut *second).await.unwrap();
    if second_writes_before {
        sqlx::query("insert into other values (1)").execute(&mut *second).await.unwrap();
    }
    let mut first = pool.begin().await.unwrap();
    lock_aggregate(&mut first).await;
    let waiting = tokio::spawn({
        let source = Arc::clone(&source);
        async move {
            lock_aggregate(&mut second).await;
            source.append_in(&mut second, "second").await;
            second.commit().await.unwrap();
        }
    });
    someone_waits(pool).await;
    source.append_in(&mut first, "first").await;
    first.commit().await.unwrap();
    waiting.await.unwrap();
    read(&source, 2).await
}

#[tokio::test]
async fn events_of_one_transaction_keep_their_order() {
    let source = Source::start().await;
    let mut tx = source.database.pool.begin().await.unwrap();
    for name in ["a", "b"] {
        source.append_in(&mut tx, name).await;
    }
    tx.commit().await.unwrap();
    source.commit(&["c", "d", "e"]).await;
    assert_eq!(read(&source, 5).await, ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn what_locks_the_aggregate_before_it_writes_comes_in_the_order_of_commits() {
    assert_eq!(second_waits_for_first(false).await, ["first", "second"]);
}

/// Not what one would wish for, but what handlers have to reckon with.
#[tokio::test]
async fn what_wrote_before_it_locked_the_aggregate_may_come_before_what_it_waited_for() {
    assert_eq!(second_waits_for_first(true).await, ["second", "first"]);
}
