//! Which of several replicas works.
//!
//! The lease only saves work: were two replicas to believe that they hold it, the check of the cursor would still let
//! each batch take effect once. Its times are those of the database, so that no machine's clock counts.

use std::time::Duration;

use sqlx::PgPool;
use sqlx::types::Uuid;
use tael_ids::EventId;
use tokio::time::Instant;

/// How often a lease is renewed at most. It is a commit.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// How long a lease is held that is not renewed, in seconds: several missed renewals.
pub(super) const HOLD_SECONDS: f64 = 3.0;
/// How long giving it back may take; after that it ends by itself.
const RELEASE: Duration = Duration::from_secs(1);

/// One replica's part in the lease on a source's log.
#[derive(Debug)]
pub(super) struct Lease {
    pool: PgPool,
    source: &'static str,
    holder: Uuid,
    /// When it was taken or renewed; none while another replica holds it.
    renewed_at: Option<Instant>,
}

impl Lease {
    pub(super) fn new(pool: PgPool, source: &'static str) -> Self {
        Self { pool, source, holder: EventId::new().uuid(), renewed_at: None }
    }

    /// Who this replica is.
    pub(super) fn holder(&self) -> Uuid {
        self.holder
    }

    /// Says whether this replica believes that it holds the lease.
    pub(super) fn is_held(&self) -> bool {
        self.renewed_at.is_some()
    }

    /// When the lease is to be renewed.
    pub(super) fn renew_at(&self) -> Instant {
        self.renewed_at.map_or_else(Instant::now, |at| at + RENEW_EVERY)
    }

    /// Takes or renews the lease, unless that was done a moment ago; says whether this replica holds it.
    pub(super) async fn hold(&mut self) -> Result<bool, sqlx::Error> {
        if self.renewed_at.is_some_and(|at| at.elapsed() < RENEW_EVERY) {
            return Ok(true);
        }
        let held = (self.is_held() || self.is_free().await?) && self.take().await?;
        self.renewed_at = held.then(Instant::now);
        Ok(held)
    }

    /// Notes that a batch has renewed the lease with its own commit.
    pub(super) fn renewed(&mut self) {
        self.renewed_at = self.renewed_at.map(|_| Instant::now());
    }

    /// Takes the lease as lost until it is taken again.
    pub(super) fn lose(&mut self) {
        self.renewed_at = None;
    }

    /// Gives the lease back, so that another replica goes on at once.
    pub(super) async fn release(self) {
        let release = sqlx::query!(
            "update event_cursor set holder = null, lease_until = null where source = $1 and holder = $2",
            self.source,
            self.holder,
        )
        .execute(&self.pool);
        if !matches!(tokio::time::timeout(RELEASE, release).await, Ok(Ok(_))) {
            tracing::warn!(source = self.source, "the lease was not given back; it ends by itself");
        }
    }

    /// A look that writes nothing, for those who stand by.
    async fn is_free(&self) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar!(
            r#"select not exists (
                   select from event_cursor where source = $1 and holder <> $2 and lease_until > now()
               ) as "free!""#,
            self.source,
            self.holder,
        )
        .fetch_one(&self.pool)
        .await
    }

    async fn take(&self) -> Result<bool, sqlx::Error> {
        let taken = sqlx::query!(
            "insert into event_cursor as c (source, tx, seq, holder, lease_until)
             values ($1, 0, 0, $2, now() + make_interval(secs => $3))
             on conflict (source) do update set holder = excluded.holder, lease_until = excluded.lease_until
             where c.holder is null or c.holder = excluded.holder or c.lease_until <= now()",
            self.source,
            self.holder,
            HOLD_SECONDS,
        )
        .execute(&self.pool)
        .await?;
        Ok(taken.rows_affected() == 1)
    }
}
