//! Events and cursor in one transaction.

use prost::Message as _;
use sqlx::{Acquire as _, PgConnection};
use tael_fault::crash_point;
use tael_grpc::status::Chain;
use tael_ids::EventId;
use tael_proto::event::v1::{Cursor, Event};
use tracing::{Instrument as _, Span};
use uuid::Uuid;

use super::{ConsumeError, Consumer};
use crate::handler::{ApplyError, Handler, Received, apply_one};

impl<H: Handler> Consumer<H> {
    /// Moves the cursor and applies what lies between; when one of the events can't be applied, each for itself. Says
    /// whether it did, and not another replica before.
    pub(super) async fn apply_between(
        &self,
        from: Cursor,
        to: Cursor,
        events: &[Received],
    ) -> Result<bool, ConsumeError> {
        match self.apply_batch(from, to, events).await {
            Err(ConsumeError::Apply(ApplyError::Poison(error))) => {
                tracing::error!(tael.source = self.source, error = %Chain(&*error), "a batch has an event that can't be applied");
                self.apply_singly(from, to, events).await
            }
            result => result,
        }
    }

    async fn apply_batch(&self, from: Cursor, to: Cursor, events: &[Received]) -> Result<bool, ConsumeError> {
        let mut tx = self.pool.begin().await?;
        // A cursor that moves over nothing of concern belongs to no batch, and would be a trace of its own.
        let span = if events.is_empty() { Span::none() } else { tracing::info_span!("db.event_cursor.move") };
        if !self.move_cursor(&mut tx, from, to).instrument(span).await? {
            return Ok(false);
        }
        if !events.is_empty() {
            self.handler.apply(&mut tx, events).await?;
            crash_point("eventlog.consume.applied");
        }
        // A constraint that is checked at commit may refuse an event like any other.
        tx.commit().await.map_err(ApplyError::from)?;
        if !events.is_empty() {
            crash_point("eventlog.consume.committed");
        }
        self.progress.applied(events.len());
        Ok(true)
    }

    /// Applies each event for itself and keeps those that can't be as dead letters.
    async fn apply_singly(
        &self,
        from: Cursor,
        to: Cursor,
        events: &[Received],
    ) -> Result<bool, ConsumeError> {
        let mut tx = self.pool.begin().await?;
        let span = tracing::info_span!("db.event_cursor.move");
        if !self.move_cursor(&mut tx, from, to).instrument(span).await? {
            return Ok(false);
        }
        let mut dead = 0;
        for received in events {
            let mut savepoint = tx.begin().await?;
            match apply_one(&*self.handler, &mut savepoint, received).await {
                Ok(()) => savepoint.commit().await?,
                Err(ApplyError::Poison(error)) => {
                    savepoint.rollback().await?;
                    let error = Chain(&*error).to_string();
                    self.keep_dead_letter(&mut tx, received, &error).await?;
                    dead += 1;
                }
                Err(error @ ApplyError::Transient(_)) => return Err(error.into()),
            }
        }
        tx.commit().await?;
        self.progress.applied(events.len() - dead);
        self.progress.dead_lettered(dead);
        Ok(true)
    }

    /// Moves the cursor if it still stands at `from`, and renews the lease with it if we have it. Taken first, its row
    /// lock makes replicas take turns.
    async fn move_cursor(
        &self,
        tx: &mut PgConnection,
        from: Cursor,
        to: Cursor,
    ) -> Result<bool, sqlx::Error> {
        let moved = sqlx::query!(
            "update event_cursor set tx = $4, seq = $5,
                 lease_until = case when holder = $6 then now() + make_interval(secs => $7) else lease_until end
             where source = $1 and tx = $2 and seq = $3",
            self.source,
            from.transaction.cast_signed(),
            from.sequence.cast_signed(),
            to.transaction.cast_signed(),
            to.sequence.cast_signed(),
            self.lease.holder(),
            super::lease::HOLD_SECONDS,
        )
        .execute(tx)
        .await?;
        Ok(moved.rows_affected() == 1)
    }

    #[tracing::instrument(name = "db.event_set_aside.insert", skip_all)]
    async fn keep_dead_letter(
        &self,
        tx: &mut PgConnection,
        received: &Received,
        error: &str,
    ) -> Result<(), sqlx::Error> {
        let event_id = &received.event.event_id;
        received.span.in_scope(|| {
            tracing::error!(
                tael.source = self.source,
                tael.event_id = event_id,
                error,
                "an event became a dead letter"
            );
        });
        sqlx::query!(
            "insert into event_set_aside (source, event_id, event, error) values ($1, $2, $3, $4)
             on conflict (source, event_id) do update set error = excluded.error, set_aside_time = now()",
            self.source,
            event_uuid(&received.event),
            received.event.encode_to_vec(),
            error,
        )
        .execute(tx)
        .await?;
        Ok(())
    }
}

/// Reads an event's id. One that no log gives must not hold up the rest.
fn event_uuid(event: &Event) -> Uuid {
    event.event_id.parse::<EventId>().map_or(Uuid::nil(), EventId::uuid)
}
