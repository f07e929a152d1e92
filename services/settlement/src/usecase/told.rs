//! How the last comparisons and audits ended, as metrics:
//!
//! - `tael.reconciliation.breaks` {`tael.channel`, `tael.kind`}: lines that differ, in the last comparison of each
//!   channel account.
//! - `tael.reconciliation.last_run` {`tael.channel`}: when the newest was made, in seconds since 1970.
//! - `tael.audit.disagreements` {`tael.kind`}: what the last audit of all merchants found; no kinds when all agreed.
//! - `tael.audit.last_run`, `tael.audit.last_clean`: when an audit last ended, and when all last agreed.
//!
//! They come from the database, so that every replica tells the same, whichever of them did the work.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::{Timestamp, ToSpan as _};
use opentelemetry::KeyValue;
use sqlx::PgPool;
use tael_clock::Clock;
use tael_grpc::status::Chain;
use tael_postgres::within;
use tokio_util::sync::CancellationToken;

use crate::store;
use crate::store::told::{Audited, Compared};

/// How often the database is asked.
const EVERY: Duration = Duration::from_secs(30);
/// How long it may take.
const LIMIT: Duration = Duration::from_secs(10);
/// A channel account whose bills have not been compared for so long is none of today's business.
const DAYS: i32 = 35;

/// What is known.
#[derive(Debug, Default)]
struct Known {
    compared: Vec<Compared>,
    audited: Option<(Audited, Option<Timestamp>)>,
}

/// Tells until `shutdown`.
pub(crate) async fn run(pool: PgPool, clock: Clock, shutdown: CancellationToken) {
    let known: Arc<Mutex<Known>> = Arc::default();
    tell_comparisons(&known);
    tell_audits(&known);
    loop {
        match within(LIMIT, look(&pool, &clock)).await {
            Ok(found) => *lock(&known) = found,
            // What was known is as good as before.
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "how comparisons and audits ended could not be read");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

async fn look(pool: &PgPool, clock: &Clock) -> Result<Known, sqlx::Error> {
    let today = clock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
    let from = today.saturating_sub(DAYS.days());
    Ok(Known {
        compared: store::told::compared(pool, from).await?,
        audited: store::told::last_audit(pool).await?,
    })
}

fn tell_comparisons(known: &Arc<Mutex<Known>>) {
    let meter = tael_telemetry::meter();
    let _breaks = meter
        .u64_observable_gauge("tael.reconciliation.breaks")
        .with_unit("{line}")
        .with_description("Lines in which the last bill of each channel account and the ledger differ")
        .with_callback({
            let known = Arc::clone(known);
            move |gauge| {
                for Compared { channel, kind, breaks, .. } in &lock(&known).compared {
                    let attributes = [
                        KeyValue::new("tael.channel", channel.clone()),
                        KeyValue::new("tael.kind", kind.clone()),
                    ];
                    gauge.observe(*breaks, &attributes);
                }
            }
        })
        .build();
    let _last_run = meter
        .i64_observable_gauge("tael.reconciliation.last_run")
        .with_unit("s")
        .with_description("When a channel's bill was last compared, in seconds since 1970")
        .with_callback({
            let known = Arc::clone(known);
            move |gauge| {
                for Compared { channel, last_time, .. } in &lock(&known).compared {
                    gauge.observe(last_time.as_second(), &[KeyValue::new("tael.channel", channel.clone())]);
                }
            }
        })
        .build();
}

fn tell_audits(known: &Arc<Mutex<Known>>) {
    let meter = tael_telemetry::meter();
    let _disagreements = meter
        .u64_observable_gauge("tael.audit.disagreements")
        .with_unit("{disagreement}")
        .with_description("What the last audit of all merchants found, by kind")
        .with_callback({
            let known = Arc::clone(known);
            move |gauge| {
                if let Some((audited, _)) = &lock(&known).audited {
                    for (kind, count) in &audited.disagreements {
                        gauge.observe(*count, &[KeyValue::new("tael.kind", kind.clone())]);
                    }
                }
            }
        })
        .build();
    let _last_run = meter
        .i64_observable_gauge("tael.audit.last_run")
        .with_unit("s")
        .with_description("When an audit of all merchants last ended, in seconds since 1970")
        .with_callback({
            let known = Arc::clone(known);
            move |gauge| {
                if let Some((audited, _)) = &lock(&known).audited {
                    gauge.observe(audited.end_time.as_second(), &[]);
                }
            }
        })
        .build();
    let _last_clean = meter
        .i64_observable_gauge("tael.audit.last_clean")
        .with_unit("s")
        .with_description("When an audit of all merchants last found that all agrees, in seconds since 1970")
        .with_callback({
            let known = Arc::clone(known);
            move |gauge| {
                if let Some((_, Some(last_clean))) = &lock(&known).audited {
                    gauge.observe(last_clean.as_second(), &[]);
                }
            }
        })
        .build();
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().expect("nothing panics while it holds what is known")
}
