//! How the last comparisons ended, as metrics:
//!
//! - `tael.reconciliation.breaks` {`tael.channel`, `tael.kind`}: lines that differ, in the last comparison of each statement.
//! - `tael.reconciliation.last_run` {`tael.channel`}: when the newest was made, in seconds since 1970.
//!
//! They come from the database, so that every replica shows the same, whichever of them did the work. What is not found is
//! recorded as 0: a gauge keeps what was recorded last.

use std::sync::Arc;
use std::time::Duration;

use jiff::ToSpan as _;
use jiff::tz::TimeZone;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Gauge;
use sqlx::PgPool;
use tael_clock::Clock;
use tael_grpc::status::Chain;
use tael_postgres::within;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::store;

/// The longest time between two looks at the database: what other replicas did is as old.
const EVERY: Duration = Duration::from_mins(5);
/// The shortest: what this replica did is recorded so soon. Many comparisons in a row are worth one look.
const AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(10);
/// A statement of so many days ago is none of today's business.
const DAYS: i32 = 35;

/// Records until `shutdown`, at once when there are `news`.
pub(crate) async fn run(pool: PgPool, clock: Clock, news: Arc<Notify>, shutdown: CancellationToken) {
    tokio::select! {
        () = record_on_and_on(&pool, &clock, &news) => {}
        () = shutdown.cancelled() => {}
    }
}

async fn record_on_and_on(pool: &PgPool, clock: &Clock, news: &Notify) {
    let comparisons = ComparisonGauges::new();
    loop {
        if let Err(error) = within(LIMIT, comparisons.record(pool, clock)).await {
            // What was recorded is as good as before.
            tracing::warn!(error = %Chain(&error), "how comparisons ended could not be read");
        }
        sleep(AT_MOST_EVERY).await;
        // Without news it is time all the same.
        let _ = timeout(EVERY, news.notified()).await;
    }
}

struct ComparisonGauges {
    breaks: Gauge<u64>,
    last_run: Gauge<i64>,
}

impl ComparisonGauges {
    fn new() -> Self {
        let meter = tael_telemetry::meter();
        Self {
            breaks: meter
                .u64_gauge("tael.reconciliation.breaks")
                .with_unit("{line}")
                .with_description(
                    "Lines in which statements, as they were last compared, and the ledger differ",
                )
                .build(),
            last_run: meter
                .i64_gauge("tael.reconciliation.last_run")
                .with_unit("s")
                .with_description("When a channel's statement was last compared, in seconds since 1970")
                .build(),
        }
    }

    /// Reads how comparisons ended, and records it.
    async fn record(&self, pool: &PgPool, clock: &Clock) -> Result<(), sqlx::Error> {
        let today = clock.now().to_zoned(TimeZone::UTC).date();
        for compared in store::metrics::compared(pool, today.saturating_sub(DAYS.days())).await? {
            let channel = KeyValue::new("tael.channel", compared.channel);
            if let Some(time) = compared.last_time {
                self.last_run.record(time.as_second(), std::slice::from_ref(&channel));
            }
            self.breaks.record(compared.breaks, &[channel, KeyValue::new("tael.kind", compared.kind)]);
        }
        Ok(())
    }
}
