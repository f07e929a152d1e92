//! How the last comparisons and audits ended, as metrics:
//!
//! - `tael.reconciliation.breaks` {`tael.channel`, `tael.kind`}: lines that differ, in the last comparison of each bill.
//! - `tael.reconciliation.last_run` {`tael.channel`}: when the newest was made, in seconds since 1970.
//! - `tael.audit.disagreements` {`tael.kind`}: what the last audit of everything found.
//! - `tael.audit.last_run`, `tael.audit.last_clean`: when one last ended, and when all last agreed.
//!
//! They come from the database, so that every replica tells the same, whichever of them did the work. What is not found is
//! told as 0: a gauge keeps what it was told last.

use std::collections::BTreeMap;
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

use super::audit::kind_name;
use crate::store;

/// The longest time between two looks at the database: what other replicas did is as old.
const EVERY: Duration = Duration::from_mins(5);
/// The shortest: what this replica did is told so soon. Many comparisons in a row are worth one look.
const AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(10);
/// A bill of so many days ago is none of today's business.
const DAYS: i32 = 35;

/// Tells until `shutdown`, at once when there are `news`.
pub(crate) async fn run(pool: PgPool, clock: Clock, news: Arc<Notify>, shutdown: CancellationToken) {
    tokio::select! {
        () = tell_on_and_on(&pool, &clock, &news) => {}
        () = shutdown.cancelled() => {}
    }
}

async fn tell_on_and_on(pool: &PgPool, clock: &Clock, news: &Notify) {
    let gauges = Gauges::new();
    loop {
        if let Err(error) = within(LIMIT, gauges.tell(pool, clock)).await {
            // What was told is as good as before.
            tracing::warn!(error = %Chain(&error), "how comparisons and audits ended could not be read");
        }
        sleep(AT_MOST_EVERY).await;
        // Without news it is time all the same.
        let _ = timeout(EVERY, news.notified()).await;
    }
}

struct Gauges {
    breaks: Gauge<u64>,
    last_comparison: Gauge<i64>,
    disagreements: Gauge<u64>,
    last_audit: Gauge<i64>,
    last_clean_audit: Gauge<i64>,
}

impl Gauges {
    fn new() -> Self {
        let meter = tael_telemetry::meter();
        let count = |name: &'static str, unit: &'static str, description: &'static str| {
            meter.u64_gauge(name).with_unit(unit).with_description(description).build()
        };
        let time = |name: &'static str, description: &'static str| {
            meter.i64_gauge(name).with_unit("s").with_description(description).build()
        };
        Self {
            breaks: count(
                "tael.reconciliation.breaks",
                "{line}",
                "Lines in which bills, as they were last compared, and the ledger differ",
            ),
            last_comparison: time(
                "tael.reconciliation.last_run",
                "When a channel's bill was last compared, in seconds since 1970",
            ),
            disagreements: count(
                "tael.audit.disagreements",
                "{disagreement}",
                "What the last audit of everything found, by kind",
            ),
            last_audit: time(
                "tael.audit.last_run",
                "When an audit of everything last ended, in seconds since 1970",
            ),
            last_clean_audit: time(
                "tael.audit.last_clean",
                "When an audit of everything last found that all agrees, in seconds since 1970",
            ),
        }
    }

    /// Reads how comparisons and audits ended, and tells it.
    async fn tell(&self, pool: &PgPool, clock: &Clock) -> Result<(), sqlx::Error> {
        let today = clock.now().to_zoned(TimeZone::UTC).date();
        for compared in store::told::compared(pool, today.saturating_sub(DAYS.days())).await? {
            let channel = KeyValue::new("tael.channel", compared.channel);
            if let Some(time) = compared.last_time {
                self.last_comparison.record(time.as_second(), std::slice::from_ref(&channel));
            }
            self.breaks.record(compared.breaks, &[channel, KeyValue::new("tael.kind", compared.kind)]);
        }
        if let Some((audited, last_clean)) = store::told::last_audit(pool).await? {
            for (kind, count) in of_every_kind(audited.disagreements) {
                self.disagreements.record(count, &[KeyValue::new("tael.kind", kind)]);
            }
            self.last_audit.record(audited.end_time.as_second(), &[]);
            if let Some(time) = last_clean {
                self.last_clean_audit.record(time.as_second(), &[]);
            }
        }
        Ok(())
    }
}

/// Adds the kinds of which nothing was found.
fn of_every_kind(found: Vec<(String, u64)>) -> BTreeMap<String, u64> {
    store::audit::kinds().map(|kind| (kind_name(kind), 0)).chain(found).collect()
}

#[cfg(test)]
mod tests {
    use tael_proto::settlement::v1::DisagreementKind;

    use super::*;

    #[test]
    fn every_kind_of_disagreement_is_told_also_when_there_is_none() {
        let told = of_every_kind(vec![("orphan".to_owned(), 2)]);
        let kinds = (1..100).filter_map(|number| DisagreementKind::try_from(number).ok());
        let expected = kinds.map(|kind| (kind_name(kind), u64::from(kind == DisagreementKind::Orphan) * 2));
        assert_eq!(told, expected.collect());
        assert!(told.len() > 30, "{told:?}");
    }
}
