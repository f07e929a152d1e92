//! The proof that the cursor is right: the reader that everybody writes first loses events to the same writers.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tokio::time::Instant;

use crate::source::Source;

const WRITERS: u64 = 16;
const WRITING: Duration = Duration::from_secs(6);

/// Writes transactions of random length, which overlap those of the others, for a while; one in eight rolls back.
/// Returns what was committed.
async fn write(source: &Source, writer: u64) -> Vec<String> {
    let mut rng = StdRng::seed_from_u64(writer);
    let mut committed = Vec::new();
    let stop = Instant::now() + WRITING;
    while Instant::now() < stop {
        let mut tx = source.database.pool.begin().await.unwrap();
        let mut names = Vec::new();
        for _ in 0..rng.random_range(1..=4) {
            let name = format!("{writer}/{}", committed.len() + names.len());
            source.append_in(&mut tx, &name).await;
            names.push(name);
            tokio::time::sleep(Duration::from_micros(rng.random_range(0..4_000))).await;
        }
        if rng.random_ratio(1, 8) {
            tx.rollback().await.unwrap();
        } else {
            tx.commit().await.unwrap();
            source.log.wake();
            committed.extend(names);
        }
    }
    committed
}

/// Remembers the highest sequence number and asks for higher ones.
async fn read_naively(source: &Source, written: &AtomicBool) -> HashSet<String> {
    let (mut cursor, mut seen) = (0_i64, HashSet::new());
    loop {
        let last = written.load(Ordering::Acquire);
        let rows: Vec<(i64, String)> =
            sqlx::query_as("select seq, aggregate_id from event_log where seq > $1 order by seq limit 500")
                .bind(cursor)
                .fetch_all(&source.database.pool)
                .await
                .unwrap();
        if last && rows.is_empty() {
            return seen;
        }
        for (seq, name) in rows {
            cursor = seq;
            seen.insert(name);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn read(source: &Source, written: &AtomicBool) -> Vec<String> {
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let last = written.load(Ordering::Acquire);
        // Long enough to get past what a transaction of another test may hide for a moment.
        let events = source.read(after, 500, 2_000).await.unwrap();
        if last && events.is_empty() {
            return seen;
        }
        after = events.last().and_then(|event| event.cursor).or(after);
        seen.extend(events.into_iter().map(|event| event.aggregate_id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_naive_reader_loses_events_where_ours_loses_none() {
    let source = Source::start().await;
    let written = AtomicBool::new(false);
    let write_all = async {
        let committed = join_all((0..WRITERS).map(|writer| write(&source, writer))).await;
        written.store(true, Ordering::Release);
        committed.into_iter().flatten().collect::<HashSet<String>>()
    };
    let (committed, naive, ours) =
        tokio::join!(write_all, read_naively(&source, &written), read(&source, &written));

    let lost = committed.difference(&naive).count();
    println!("{} events, of which the naive reader lost {lost}", committed.len());
    assert!(lost > 0, "the writers were too tame to show anything");
    assert_eq!(ours.len(), committed.len(), "each once");
    assert_eq!(ours.into_iter().collect::<HashSet<_>>(), committed);
}
