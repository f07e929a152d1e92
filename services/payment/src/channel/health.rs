//! How a channel account answers: its breaker, told by the adapter of each call and asked before calls.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use opentelemetry::metrics::UpDownCounter;
use tael_clock::Clock;
use tokio::time::Instant;

use crate::domain::breaker::Breaker;

/// A call that is given up sooner than this by whom it was made for says nothing about the channel.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How many accounts are left alone by this process because their channel does not answer.
static OPEN: LazyLock<UpDownCounter<i64>> = LazyLock::new(|| {
    tael_telemetry::meter()
        .i64_up_down_counter("tael.payment.channel_accounts_unavailable")
        .with_unit("{account}")
        .with_description("Channel accounts that are not called, but for probes, because they do not answer")
        .build()
});

/// The health of one account in this process. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    breaker: Mutex<Breaker>,
    clock: Clock,
}

impl Health {
    pub(crate) fn new(call_timeout: Duration, clock: Clock) -> Self {
        Self(Arc::new(Inner { breaker: Mutex::new(Breaker::new(call_timeout)), clock }))
    }

    /// Lets a caller pass, or says when to come back.
    pub(crate) fn admit(&self) -> Result<(), Timestamp> {
        self.breaker().admit(self.0.clock.now())
    }

    /// Begins to listen for the answer of a call.
    pub(crate) fn begin(&self) -> CallGuard<'_> {
        CallGuard { health: self, since: Instant::now(), recorded: false }
    }

    fn record(&self, answered: bool) {
        let now = self.0.clock.now();
        let mut breaker = self.breaker();
        let before = breaker.is_open();
        if answered {
            breaker.answered(now);
        } else {
            breaker.unanswered(now);
        }
        match (before, breaker.is_open()) {
            (false, true) => {
                OPEN.add(1, &[]);
                tracing::error!("a channel account does not answer and is left alone for a time");
            }
            (true, false) => {
                OPEN.add(-1, &[]);
                tracing::info!("a channel account answers again");
            }
            (false, false) | (true, true) => {}
        }
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.0.breaker.lock().expect("nothing panics while it holds the breaker")
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.breaker.get_mut().is_ok_and(|breaker| breaker.is_open()) {
            OPEN.add(-1, &[]);
        }
    }
}

/// A call that is under way. Dropped without an answer after some time, it had none.
#[derive(Debug)]
pub(crate) struct CallGuard<'a> {
    health: &'a Health,
    since: Instant,
    recorded: bool,
}

impl CallGuard<'_> {
    /// The call has ended, with an answer that is surely the channel's or without.
    pub(crate) fn record(mut self, answered: bool) {
        self.recorded = true;
        self.health.record(answered);
    }
}

impl Drop for CallGuard<'_> {
    fn drop(&mut self) {
        if !self.recorded && self.since.elapsed() >= TIMEOUT {
            self.health.record(false);
        }
    }
}
