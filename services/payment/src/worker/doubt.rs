//! How many attempts to pay have an outcome that nobody knows, as metrics:
//!
//! - `tael.payment.in_doubt`: how many.
//! - `tael.payment.in_doubt_age`: how long the oldest of them has been waiting; 0 when there is none.
//!
//! They are those of all replicas, so each tells the same. The database is asked now and then, not at each export.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use tael_clock::Clock;
use tael_grpc::status::Chain;
use tokio::time::Instant;

use crate::store::payment::InDoubt;
use crate::usecase::Payments;

/// How often the database is asked.
const EVERY: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Doubt {
    /// None while it is not known.
    seen: Arc<Mutex<Option<InDoubt>>>,
    next: Instant,
}

impl Doubt {
    /// Nothing is known yet.
    pub(super) fn new(clock: &Clock) -> Self {
        let seen: Arc<Mutex<Option<InDoubt>>> = Arc::default();
        let meter = tael_telemetry::meter();
        let _attempts = meter
            .u64_observable_gauge("tael.payment.in_doubt")
            .with_unit("{attempt}")
            .with_description("Attempts to pay whose outcome is not known")
            .with_callback({
                let seen = Arc::clone(&seen);
                move |gauge| {
                    if let Some(seen) = *lock(&seen) {
                        gauge.observe(seen.attempts, &[]);
                    }
                }
            })
            .build();
        let _age = meter
            .f64_observable_gauge("tael.payment.in_doubt_age")
            .with_unit("s")
            .with_description("Age of the oldest attempt to pay whose outcome is not known")
            .with_callback({
                let (seen, clock) = (Arc::clone(&seen), clock.clone());
                move |gauge| {
                    if let Some(seen) = *lock(&seen) {
                        gauge.observe(age(seen.since, clock.now()), &[]);
                    }
                }
            })
            .build();
        Self { seen, next: Instant::now() }
    }

    /// Asks the database, if it is time.
    pub(super) async fn refresh(&mut self, payments: &Payments) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + EVERY;
        let found = payments.in_doubt().await;
        if let Err(error) = &found {
            tracing::warn!(error = %Chain(error), "payments in doubt could not be counted");
        }
        *lock(&self.seen) = found.ok();
    }
}

/// In seconds.
fn age(since: Option<Timestamp>, now: Timestamp) -> f64 {
    since.map_or(0.0, |since| now.duration_since(since).as_secs_f64().max(0.0))
}

fn lock(seen: &Mutex<Option<InDoubt>>) -> MutexGuard<'_, Option<InDoubt>> {
    seen.lock().expect("nothing panics while it holds what was seen")
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
