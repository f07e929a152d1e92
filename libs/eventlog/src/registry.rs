//! Who reads a log, and up to where each has applied it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sqlx::PgPool;
use tael_grpc::status::Chain;
use tael_proto::event::v1::{Cursor, LogConsumer};
use tokio::time::Instant;

use crate::read::cursor;

/// How often a consumer's progress is stored at most: a commit for every poll would cost more than the events.
const STORE_EVERY: Duration = Duration::from_secs(1);
/// How often a consumer without progress is stored as seen.
const SEEN_EVERY: Duration = Duration::from_secs(10);
/// Up to how many events a consumer's distance is counted.
const LAG_LIMIT: i64 = 1_000_000;

/// The registered consumers of a log. Clones share what was noted.
#[derive(Clone, Debug)]
pub(crate) struct Registry {
    pool: PgPool,
    noted: Arc<Mutex<HashMap<String, Noted>>>,
}

/// What this process stored last of a consumer.
#[derive(Debug)]
struct Noted {
    at: Instant,
    applied: Cursor,
}

impl Registry {
    pub(crate) fn new(pool: PgPool) -> Self {
        Self { pool, noted: Arc::default() }
    }

    /// Notes that a consumer has applied the log up to a cursor. It is registered when this returns, unless the
    /// database failed; that is logged only, and tried again at its next read.
    pub(crate) async fn note(&self, consumer: &str, applied: Cursor) {
        if !self.is_due(consumer, applied) {
            return;
        }
        if let Err(error) = self.store(consumer, applied).await {
            self.noted().remove(consumer);
            tracing::warn!(consumer, error = %Chain(&error), "a consumer's progress was not stored");
        }
    }

    /// Returns the consumers by name.
    pub(crate) async fn list(&self) -> Result<Vec<LogConsumer>, sqlx::Error> {
        let rows = sqlx::query!(
            r#"select name, tx, seq, seen_time,
                      (select count(*) from (
                           select from event_log e where (e.tx, e.seq) > (c.tx::text::xid8, c.seq) limit $1
                       ) behind) as "lag!"
               from event_consumer c order by name"#,
            LAG_LIMIT,
        )
        .fetch_all(&self.pool)
        .await?;
        let consumers = rows.into_iter().map(|row| LogConsumer {
            consumer: row.name,
            applied: Some(cursor(row.tx, row.seq)),
            lag: row.lag.cast_unsigned(),
            seen_time: Some(tael_grpc::convert::timestamp(row.seen_time.to_jiff())),
        });
        Ok(consumers.collect())
    }

    /// Forgets a consumer.
    pub(crate) async fn remove(&self, consumer: &str) -> Result<(), sqlx::Error> {
        sqlx::query!("delete from event_consumer where name = $1", consumer).execute(&self.pool).await?;
        self.noted().remove(consumer);
        Ok(())
    }

    /// Forgets a consumer that has applied less than was removed up to a position: it can't go on, and needs nothing of
    /// what is left.
    pub(crate) async fn behind_retention(&self, consumer: &str, removed: Cursor) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "delete from event_consumer where name = $1 and (tx, seq) < ($2, $3)",
            consumer,
            removed.transaction.cast_signed(),
            removed.sequence.cast_signed(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Says whether a consumer is to be stored now, and takes it as done.
    fn is_due(&self, consumer: &str, applied: Cursor) -> bool {
        let mut noted = self.noted();
        if let Some(last) = noted.get(consumer) {
            let farther = position(applied) > position(last.applied);
            let wait = if farther { STORE_EVERY } else { SEEN_EVERY };
            if last.at.elapsed() < wait {
                return false;
            }
        }
        noted.insert(consumer.to_owned(), Noted { at: Instant::now(), applied });
        true
    }

    async fn store(&self, consumer: &str, applied: Cursor) -> Result<(), sqlx::Error> {
        sqlx::query!(
            "insert into event_consumer as c (name, tx, seq) values ($1, $2, $3)
             on conflict (name) do update set
                 tx = case when (excluded.tx, excluded.seq) > (c.tx, c.seq) then excluded.tx else c.tx end,
                 seq = case when (excluded.tx, excluded.seq) > (c.tx, c.seq) then excluded.seq else c.seq end,
                 seen_time = now()",
            consumer,
            applied.transaction.cast_signed(),
            applied.sequence.cast_signed(),
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    fn noted(&self) -> MutexGuard<'_, HashMap<String, Noted>> {
        self.noted.lock().expect("nothing panics while it holds the notes")
    }
}

fn position(cursor: Cursor) -> (u64, u64) {
    (cursor.transaction, cursor.sequence)
}
