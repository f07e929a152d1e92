use std::collections::HashSet;

use futures::future::join_all;
use sqlx::PgPool;
use tael_proto::event::v1::{Cursor, Event};

use crate::source::{Database, Source, names};

const WRITERS: usize = 16;
const ROUNDS: usize = 8;

/// What everybody writes first: remembers the highest sequence number and asks for higher ones.
#[derive(Default)]
struct Naive {
    cursor: i64,
    seen: HashSet<String>,
}

impl Naive {
    async fn read(&mut self, pool: &PgPool) {
        let rows: Vec<(i64, String)> =
            sqlx::query_as("select seq, aggregate_id from event_log where seq > $1 order by seq")
                .bind(self.cursor)
                .fetch_all(pool)
                .await
                .unwrap();
        for (seq, name) in rows {
            self.cursor = seq;
            self.seen.insert(name);
        }
    }
}

/// Reads over gRPC, in small pages, until so many events have come.
async fn read_until(source: &Source, count: usize) -> Vec<Event> {
    let (mut after, mut seen): (Option<Cursor>, Vec<Event>) = (None, Vec::new());
    while seen.len() < count {
        let page = source.read(after, 7, 10_000).await.unwrap();
        assert!(!page.is_empty(), "waited in vain after {} of {count}", seen.len());
        after = page.last().unwrap().cursor;
        seen.extend(page);
    }
    assert_eq!(source.read(after, 7, 0).await.unwrap(), [], "and no more");
    seen
}

fn assert_complete_and_in_order(seen: &[Event], expected: &HashSet<String>) {
    let names: HashSet<_> = seen.iter().map(|event| event.aggregate_id.clone()).collect();
    assert_eq!(seen.len(), names.len(), "an event came twice");
    assert_eq!(&names, expected);
    let positions: Vec<_> =
        seen.iter().filter_map(|event| event.cursor).map(|c| (c.transaction, c.sequence)).collect();
    assert!(positions.is_sorted_by(|a, b| a < b));
    for writer in 0..WRITERS {
        let rounds: Vec<usize> = seen
            .iter()
            .filter_map(|event| event.aggregate_id.strip_prefix(&format!("{writer}/")))
            .map(|round| round.parse().unwrap())
            .collect();
        assert!(rounds.is_sorted(), "writer {writer}'s events came as {rounds:?}");
    }
}

/// In each round all writers' transactions are open at once. Their events get their sequence numbers in one order and
/// are committed in another; in every second round transaction ids go a third way. One writer rolls back.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_when_transactions_commit_out_of_order() {
    let source = Source::start().await;
    let expected: HashSet<String> = (0..ROUNDS)
        .flat_map(|round| (0..WRITERS).filter(|&w| w != 5).map(move |writer| format!("{writer}/{round}")))
        .collect();
    let mut naive = Naive::default();
    let write = async {
        for round in 0..ROUNDS {
            let mut open = Vec::new();
            for _ in 0..WRITERS {
                open.push(source.database.pool.begin().await.unwrap());
            }
            if round % 2 == 1 {
                for tx in open.iter_mut().rev() {
                    sqlx::query("select pg_current_xact_id()").execute(&mut **tx).await.unwrap();
                }
            }
            for (writer, tx) in open.iter_mut().enumerate() {
                source.append_in(tx, &format!("{writer}/{round}")).await;
            }
            for (turn, (writer, tx)) in open.into_iter().enumerate().rev().enumerate() {
                if writer == 5 {
                    tx.rollback().await.unwrap();
                    continue;
                }
                tx.commit().await.unwrap();
                source.log.wake();
                if turn % 4 == 0 {
                    naive.read(&source.database.pool).await;
                }
            }
        }
        naive.read(&source.database.pool).await;
    };
    let ((), seen) = tokio::join!(write, read_until(&source, expected.len()));

    assert_complete_and_in_order(&seen, &expected);
    let lost = expected.difference(&naive.seen).count();
    assert!(lost > 0, "the run was too tame to show anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_missed_when_writers_run_freely() {
    race(&Source::start().await).await;
}

/// The neighbour hides all events from the server-wide horizon, so that everything is read by the database's own.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_transaction_of_another_database_neither_hides_nor_loses_events() {
    let neighbour = Database::create().await;
    let mut long = neighbour.pool.begin().await.unwrap();
    sqlx::query("select pg_current_xact_id()").execute(&mut *long).await.unwrap();
    race(&Source::start().await).await;
    long.rollback().await.unwrap();
}

/// A transaction of the same database may yet append, so what came after it must wait for it.
#[tokio::test]
async fn a_long_transaction_of_the_same_database_hides_what_came_after_it() {
    let source = Source::start().await;
    let mut long = source.database.pool.begin().await.unwrap();
    source.append_in(&mut long, "early").await;
    source.commit(&["late"]).await;
    assert_eq!(source.read(None, 10, 0).await.unwrap(), []);
    long.commit().await.unwrap();
    assert_eq!(names(&read_until(&source, 2).await), ["early", "late"]);
}

async fn race(source: &Source) {
    let expected: HashSet<String> =
        (0..WRITERS).flat_map(|w| (0..ROUNDS * 2).map(move |round| format!("{w}/{round}"))).collect();
    let writers = join_all((0..WRITERS).map(|writer| {
        let (log, pool) = (source.log.clone(), source.database.pool.clone());
        tokio::spawn(async move {
            for round in (0..ROUNDS * 2).step_by(2) {
                let mut tx = pool.begin().await.unwrap();
                for round in round..round + 2 {
                    let event = crate::source::event(&format!("{writer}/{round}"));
                    log.append(&mut tx, &[event]).await.unwrap();
                    tokio::task::yield_now().await;
                }
                tx.commit().await.unwrap();
                log.wake();
            }
        })
    }));
    let (written, first, second) =
        tokio::join!(writers, read_until(source, expected.len()), read_until(source, expected.len()));
    written.into_iter().for_each(Result::unwrap);
    assert_complete_and_in_order(&first, &expected);
    assert_eq!(first, second, "every reader sees one order");
}
