//! How much time Redis may cost.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// Redis must be faster than this to be of use.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(250);
/// After a failure Redis is left alone for so long. Then one call looks whether it is back, while the others go on
/// without: an outage costs one wait each time, and not one per call.
const PAUSE_MS: u64 = 1000;

/// Waits for Redis a little, and for one that is in trouble hardly at all.
#[derive(Debug)]
pub(crate) struct Breaker {
    /// Until when Redis is left alone, in milliseconds since `epoch`; 0 while it is well.
    paused_until_ms: AtomicU64,
    epoch: Instant,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self { paused_until_ms: AtomicU64::new(0), epoch: Instant::now() }
    }

    /// Whether Redis gave trouble when it was last asked.
    pub(crate) fn is_open(&self) -> bool {
        self.paused_until_ms.load(Ordering::Relaxed) != 0
    }

    /// Whether Redis may be asked something that can be done without. Of all who wonder after a pause, one may.
    pub(crate) fn allows(&self) -> bool {
        self.allows_at(self.elapsed_ms())
    }

    /// Waits for one step. `None` if it failed or took too long.
    pub(crate) async fn wait<T>(&self, step: impl Future<Output = redis::RedisResult<T>>) -> Option<T> {
        match tokio::time::timeout(TIMEOUT, step).await {
            Ok(Ok(value)) => {
                if self.paused_until_ms.swap(0, Ordering::Relaxed) != 0 {
                    tracing::info!("Redis helps again");
                }
                Some(value)
            }
            Ok(Err(error)) => self.lose(&error),
            Err(_elapsed) => self.lose(&"no answer in time"),
        }
    }

    fn lose<T>(&self, error: &dyn Display) -> Option<T> {
        if self.pause_at(self.elapsed_ms()) {
            tracing::warn!(%error, "Redis is no help; the database guard works alone");
        }
        None
    }

    fn allows_at(&self, now_ms: u64) -> bool {
        let until = self.paused_until_ms.load(Ordering::Relaxed);
        let next = now_ms + PAUSE_MS;
        let take_turn = || {
            self.paused_until_ms.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        until == 0 || (now_ms >= until && take_turn())
    }

    /// Says whether Redis was well before.
    fn pause_at(&self, now_ms: u64) -> bool {
        self.paused_until_ms.fetch_max(now_ms + PAUSE_MS, Ordering::Relaxed) == 0
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_one_asks_each_second() {
        let breaker = Breaker::new();
        assert!(breaker.allows_at(0) && breaker.allows_at(0) && !breaker.is_open());
        assert!(breaker.pause_at(5));
        assert!(!breaker.pause_at(6), "in trouble already");
        for second in 1..4 {
            let back = 6 + second * PAUSE_MS;
            assert!(!breaker.allows_at(back - 1) && breaker.is_open());
            assert!(breaker.allows_at(back), "one may look");
            assert!(!breaker.allows_at(back), "and only one");
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_in_time_is_left_alone_until_it_does() {
        let breaker = Breaker::new();
        let began = Instant::now();
        assert_eq!(breaker.wait(std::future::pending::<redis::RedisResult<()>>()).await, None);
        assert!(began.elapsed() >= TIMEOUT);
        assert!(!breaker.allows());
        assert_eq!(breaker.wait(async { Ok(7) }).await, Some(7));
        assert!(breaker.allows());
    }
}
