//! How the last audits of everything ended, as metrics:
//!
//! - `tael.audit.disagreements` {`tael.kind`}: what the last one found.
//! - `tael.audit.last_run`, `tael.audit.last_clean`: when one last ended, and when all last agreed.
//!
//! They come from the database, so that every replica shows the same, whichever of them did the work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Gauge;
use sqlx::PgPool;
use tael_grpc::status::Chain;
use tael_postgres::within;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::kind_name;
use crate::store;

/// The longest time between two looks at the database: what other replicas did is as old.
const EVERY: Duration = Duration::from_mins(5);
/// The shortest: what this replica did is recorded so soon.
const AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Records until `shutdown`, at once when an audit `ended` here.
pub(crate) async fn run(pool: PgPool, ended: Arc<Notify>, shutdown: CancellationToken) {
    let gauges = AuditGauges::new();
    let record_on_and_on = async {
        loop {
            if let Err(error) = within(LIMIT, gauges.record(&pool)).await {
                // What was recorded is as good as before.
                tracing::warn!(error = %Chain(&error), "how audits ended could not be read");
            }
            sleep(AT_MOST_EVERY).await;
            // Without news it is time all the same.
            let _ = timeout(EVERY, ended.notified()).await;
        }
    };
    tokio::select! {
        () = record_on_and_on => {}
        () = shutdown.cancelled() => {}
    }
}

struct AuditGauges {
    disagreements: Gauge<u64>,
    last_run: Gauge<i64>,
    last_clean: Gauge<i64>,
}

impl AuditGauges {
    fn new() -> Self {
        let meter = tael_telemetry::meter();
        let time = |name: &'static str, description: &'static str| {
            meter.i64_gauge(name).with_unit("s").with_description(description).build()
        };
        Self {
            disagreements: meter
                .u64_gauge("tael.audit.disagreements")
                .with_unit("{disagreement}")
                .with_description("What the last audit of everything found, by kind")
                .build(),
            last_run: time(
                "tael.audit.last_run",
                "When an audit of everything last ended, in seconds since 1970",
            ),
            last_clean: time(
                "tael.audit.last_clean",
                "When an audit of everything last found that all agrees, in seconds since 1970",
            ),
        }
    }

    /// Reads how the last audits ended, and records it.
    async fn record(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        if let Some((run, last_clean)) = store::audit_run::last(pool).await? {
            for (kind, count) in of_every_kind(run.disagreements) {
                self.disagreements.record(count, &[KeyValue::new("tael.kind", kind)]);
            }
            self.last_run.record(run.end_time.as_second(), &[]);
            if let Some(time) = last_clean {
                self.last_clean.record(time.as_second(), &[]);
            }
        }
        Ok(())
    }
}

/// Adds the kinds of which nothing was found.
fn of_every_kind(found: Vec<(String, u64)>) -> BTreeMap<String, u64> {
    store::session::kinds().map(|kind| (kind_name(kind), 0)).chain(found).collect()
}

#[cfg(test)]
mod tests {
    use tael_proto::audit::v1::DisagreementKind;

    use super::*;

    #[test]
    fn every_kind_of_disagreement_is_recorded_also_when_there_is_none() {
        let found = of_every_kind(vec![("orphan".to_owned(), 2)]);
        let kinds = (1..100).filter_map(|number| DisagreementKind::try_from(number).ok());
        let expected = kinds.map(|kind| (kind_name(kind), u64::from(kind == DisagreementKind::Orphan) * 2));
        assert_eq!(found, expected.collect());
        assert!(found.len() > 30, "{found:?}");
    }
}
