//! Whether sessions still take writes: looked at seldom while all is well, and at every use once one does not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection, Row as _};

/// A connection that has rested this long is asked before it is used.
const REST: Duration = Duration::from_millis(250);
/// Of the connections that are given back, one in this time is asked whether it takes writes, and the others only whether
/// they answer, which costs the server a third of that.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// After one was found that takes no writes, all are asked for so long: the whole server was turned read-only then.
const SUSPICION: Duration = Duration::from_secs(1);
/// Who does not answer within this time is gone, or as good as gone.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a new connection is not kept.
pub(crate) const READ_ONLY: &str = "the server takes no writes, as a standby does not";

/// What a pool knows of its server's sessions.
#[derive(Debug)]
pub(crate) struct Looks {
    epoch: Instant,
    /// In milliseconds since `epoch`.
    next_look: AtomicU64,
    suspicious_until: AtomicU64,
}

impl Looks {
    pub(crate) fn new() -> Self {
        Self { epoch: Instant::now(), next_look: AtomicU64::new(0), suspicious_until: AtomicU64::new(0) }
    }

    /// Says whether a connection may be used that was idle for so long.
    pub(crate) async fn before_use(
        &self,
        conn: &mut PgConnection,
        idle: Duration,
    ) -> Result<bool, sqlx::Error> {
        if idle < REST && !self.is_suspicious() { Ok(true) } else { self.look(conn).await }
    }

    /// Says whether a connection may be used again. The pool asks here as well, but without an end: it must not meet a
    /// connection that is silent.
    pub(crate) async fn after_use(&self, conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
        if self.is_suspicious() || self.is_our_turn() {
            self.look(conn).await
        } else {
            in_time(conn.ping()).await.map(|()| true)
        }
    }

    /// Says whether a connection's server answers and takes writes. An error closes the connection without a farewell,
    /// which could hang.
    pub(crate) async fn look(&self, conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
        let answer = in_time(sqlx::raw_sql("show transaction_read_only").fetch_one(conn)).await?;
        let takes_writes = answer.try_get::<String, _>(0)? == "off";
        if !takes_writes {
            self.suspicious_until.store(self.now() + millis(SUSPICION), Ordering::Relaxed);
        }
        Ok(takes_writes)
    }

    fn is_suspicious(&self) -> bool {
        self.now() < self.suspicious_until.load(Ordering::Relaxed)
    }

    /// Whether it is time for a look, for one of all who ask.
    fn is_our_turn(&self) -> bool {
        let (now, next) = (self.now(), self.next_look.load(Ordering::Relaxed));
        let later = now + millis(LOOK_EVERY);
        next <= now
            && self.next_look.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn now(&self) -> u64 {
        millis(self.epoch.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn in_time<T>(step: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    crate::within(PING_TIMEOUT, step).await
}
