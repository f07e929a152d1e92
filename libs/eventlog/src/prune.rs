//! Removing old events that nobody needs any more.

use std::time::Duration;

use tael_grpc::status::Chain;
use tokio_util::sync::CancellationToken;

use crate::log::EventLog;

/// So many events are removed in one transaction at most.
const BATCH: i64 = 2000;
/// How long a batch may take before its connection counts as lost. Whatever becomes of its transaction, the next batch
/// begins where the log begins then.
const TIMEOUT: Duration = Duration::from_mins(1);
/// The pause when nothing more is due.
const PAUSE: Duration = Duration::from_mins(1);

impl EventLog {
    /// Removes events older than the log is to keep them ([`EventLog::with_retention`]), by the database's clock, that every
    /// registered consumer has applied. Works until `shutdown`. Several replicas may do so at once.
    pub async fn prune(self, shutdown: CancellationToken) {
        if self.kept_days().is_none() {
            return shutdown.cancelled().await;
        }
        while !shutdown.is_cancelled() {
            match tael_postgres::within(TIMEOUT, self.prune_once()).await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "old events could not be removed");
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Removes the oldest of such events, a bounded batch of them, and returns how many that were.
    ///
    /// Only a beginning of the log is ever removed: up to the first event that is too young, that a consumer has not
    /// applied, or before which a running transaction could still put one. Up to where is recorded in the same
    /// transaction, so that a reader who stands before it is told.
    pub async fn prune_once(&self) -> Result<u64, sqlx::Error> {
        let Some(days) = self.kept_days() else {
            return Ok(0);
        };
        let mut tx = self.pool().begin().await?;
        // Nobody registers while we look who is registered, and replicas take turns.
        sqlx::query!("lock table event_consumer in share row exclusive mode").execute(&mut *tx).await?;
        let removed = sqlx::query!("select tx, seq from event_removed").fetch_optional(&mut *tx).await?;
        let (after_tx, after_seq) = removed.map_or((0, 0), |row| (row.tx, row.seq));
        let last = sqlx::query!(
            r#"with oldest as (
                   select tx, seq, append_time from event_log
                   where (tx, seq) > ($1::bigint::text::xid8, $2) and tx < pg_snapshot_xmin(pg_current_snapshot())
                   order by tx, seq
                   limit $3
               ), judged as (
                   select tx, seq, bool_and(
                       append_time < now() - make_interval(days => $4)
                       and not exists (
                           select from event_consumer c where (c.tx, c.seq) < (o.tx::text::bigint, o.seq)
                       )
                   ) over (order by tx, seq) as due
                   from oldest o
               ), gone as (
                   delete from event_log l using judged j where j.due and l.seq = j.seq returning l.tx, l.seq
               )
               select tx::text::bigint as "tx!", seq, count(*) over () as "count!"
               from gone order by gone.tx desc, gone.seq desc limit 1"#,
            after_tx,
            after_seq,
            BATCH,
            i32::from(days.get()),
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some(last) = last else {
            return Ok(0);
        };
        sqlx::query!(
            "insert into event_removed (tx, seq) values ($1, $2)
             on conflict (only_row) do update set tx = excluded.tx, seq = excluded.seq",
            last.tx,
            last.seq,
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        tracing::info!(count = last.count, "old events were removed");
        Ok(last.count.cast_unsigned())
    }
}
