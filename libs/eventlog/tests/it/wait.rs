use std::time::Duration;

use tael_testkit::eventually;
use tokio::time::Instant;

use crate::source::{Source, names};

/// Long enough that only a wake or the end of a wait can be the reason of an answer.
const LONG: u32 = 20_000;

/// Lets a reader reach its wait: it has read, when the statement that it waits after has been seen idle.
async fn a_reader_waits(source: &Source) {
    eventually("the reader to wait", async || {
        let read: bool = sqlx::query_scalar(
            "select exists (select from pg_stat_activity
                            where datname = current_database() and state = 'idle' and query like '%from event_log%')",
        )
        .fetch_one(&source.database.pool)
        .await
        .unwrap();
        read.then_some(())
    })
    .await;
}

/// How long readers waited after the commit that they waited for, at the median.
async fn median_delay(source: &Source) -> Duration {
    let mut delays = Vec::new();
    let mut after = source.read(None, 1000, 0).await.unwrap().last().and_then(|event| event.cursor);
    for _ in 0..15 {
        let write = async {
            a_reader_waits(source).await;
            source.commit(&["awaited"]).await;
            Instant::now()
        };
        let (read, committed) = tokio::join!(source.read(after, 0, LONG), write);
        delays.push(committed.elapsed());
        after = read.unwrap().last().unwrap().cursor;
    }
    delays.sort();
    delays[7]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_is_woken_by_the_commit() {
    let source = Source::start().await;
    // Looking by itself, five times a second, a reader would be 100 ms late at the median. Transactions of other
    // tests may hide a commit for a while, so that one quiet series is asked for, not that the first is quiet.
    eventually("a median below 20 ms", async || {
        (median_delay(&source).await < Duration::from_millis(20)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_reader_finds_by_itself_what_another_replica_appended() {
    let source = Source::start().await;
    let write = async {
        a_reader_waits(&source).await;
        let mut tx = source.database.pool.begin().await.unwrap();
        source.append_in(&mut tx, "elsewhere").await;
        tx.commit().await.unwrap(); // nobody here is woken
    };
    let began = Instant::now();
    let (read, ()) = tokio::join!(source.read(None, 0, LONG), write);
    assert_eq!(names(&read.unwrap()), ["elsewhere"]);
    assert!(began.elapsed() < Duration::from_secs(10), "long before its wait ended");
}

#[tokio::test]
async fn what_an_older_transaction_hides_is_read_when_that_one_ends() {
    let source = Source::start().await;
    let mut older = source.database.pool.begin().await.unwrap();
    source.append_in(&mut older, "older").await;
    source.commit(&["younger"]).await;
    assert_eq!(source.read(None, 0, 100).await.unwrap(), [], "the older one could still come before it");
    older.commit().await.unwrap();
    assert_eq!(names(&source.read(None, 0, LONG).await.unwrap()), ["older", "younger"]);
}

#[tokio::test]
async fn a_wait_in_vain_ends_when_it_was_to_end() {
    let source = Source::start().await;
    let began = Instant::now();
    assert_eq!(source.read(None, 0, 300).await.unwrap(), []);
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn waiting_readers_are_answered_when_the_service_ends() {
    let source = Source::start().await;
    let began = Instant::now();
    let stop = async {
        a_reader_waits(&source).await;
        source.draining.cancel();
    };
    let (read, ()) = tokio::join!(source.read(None, 0, LONG), stop);
    assert_eq!(read.unwrap(), []);
    assert!(began.elapsed() < Duration::from_secs(10), "long before its wait ended");
}
