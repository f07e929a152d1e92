//! How many attempts to pay have an outcome that nobody knows, as metrics:
//!
//! - `tael.payment.in_doubt`: how many.
//! - `tael.payment.in_doubt_age`: how long the oldest of them has been waiting; 0 when there is none.
//!
//! They are those of all replicas, so each tells the same. The database is asked now and then, not at each export.

use std::time::Duration;

use jiff::Timestamp;
use tael_grpc::status::Chain;
use tokio_util::sync::CancellationToken;

use crate::usecase::Payments;

/// How often the database is asked.
const EVERY: Duration = Duration::from_secs(15);

/// Tells until `shutdown`.
pub(crate) async fn run(payments: Payments, shutdown: CancellationToken) {
    tokio::select! {
        () = tell_on_and_on(&payments) => {}
        () = shutdown.cancelled() => {}
    }
}

async fn tell_on_and_on(payments: &Payments) {
    let meter = tael_telemetry::meter();
    let attempts = meter
        .u64_gauge("tael.payment.in_doubt")
        .with_unit("{attempt}")
        .with_description("Attempts to pay whose outcome is not known")
        .build();
    let oldest = meter
        .f64_gauge("tael.payment.in_doubt_age")
        .with_unit("s")
        .with_description("Age of the oldest attempt to pay whose outcome is not known")
        .build();
    loop {
        match payments.in_doubt().await {
            Ok(found) => {
                attempts.record(found.attempts, &[]);
                oldest.record(age(found.since, payments.clock().now()), &[]);
            }
            // What was told is as good as before.
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "payments in doubt could not be counted");
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// In seconds.
fn age(since: Option<Timestamp>, now: Timestamp) -> f64 {
    since.map_or(0.0, |since| now.duration_since(since).as_secs_f64().max(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_doubt_has_no_age_and_no_age_is_negative() {
        let now = Timestamp::from_second(1_000).unwrap();
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let ages = [None, at(940), at(1_001)].map(|since| Duration::from_secs_f64(age(since, now)));
        assert_eq!(ages, [0, 60, 0].map(Duration::from_secs));
    }
}
