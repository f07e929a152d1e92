//! How the last audits of everything ended, as metrics:
//!
//! - `tael.audit.disagreements` {`tael.kind`}: what the last one found.
//! - `tael.audit.last_run`, `tael.audit.last_clean`: when one last ended, and when all last agreed.

use std::collections::BTreeMap;

use opentelemetry::KeyValue;
use opentelemetry::metrics::Gauge;
use sqlx::PgPool;

use super::audit::kind_name;
use crate::store;

pub(super) struct AuditGauges {
    disagreements: Gauge<u64>,
    last_run: Gauge<i64>,
    last_clean: Gauge<i64>,
}

impl AuditGauges {
    pub(super) fn new() -> Self {
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
    pub(super) async fn record(&self, pool: &PgPool) -> Result<(), sqlx::Error> {
        if let Some((run, last_clean)) = store::audit_runs::last(pool).await? {
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
    store::audit::kinds().map(|kind| (kind_name(kind), 0)).chain(found).collect()
}

#[cfg(test)]
mod tests {
    use tael_proto::settlement::v1::DisagreementKind;

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
