//! The sandbox's clock: real time plus an offset that the control interface can move.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// How far the clock may be moved from real time, in milliseconds: ten years.
const MAX_OFFSET_MS: i64 = 10 * 366 * 24 * 60 * 60 * 1000;

/// Real time plus an offset.
#[derive(Debug, Default)]
pub struct Clock {
    offset_ms: AtomicI64,
}

/// The asked-for offset is more than ten years away from real time.
#[derive(Debug, thiserror::Error)]
#[error("the clock cannot be moved more than ten years from real time")]
pub(crate) struct OffsetTooLarge;

impl Clock {
    /// The sandbox's present time.
    pub fn now(&self) -> Timestamp {
        real_now() + SignedDuration::from_millis(self.offset_ms())
    }

    /// Milliseconds the sandbox is ahead of real time (negative: behind).
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms.load(Ordering::Acquire)
    }

    /// Sets the distance to real time.
    pub(crate) fn set_offset_ms(&self, offset_ms: i64) -> Result<(), OffsetTooLarge> {
        if offset_ms.abs_diff(0) > MAX_OFFSET_MS.unsigned_abs() {
            return Err(OffsetTooLarge);
        }
        self.offset_ms.store(offset_ms, Ordering::Release);
        Ok(())
    }

    /// Moves the clock by `by_ms` from where it stands.
    pub(crate) fn skip_ms(&self, by_ms: i64) -> Result<(), OffsetTooLarge> {
        let moved = self.offset_ms().checked_add(by_ms).ok_or(OffsetTooLarge)?;
        self.set_offset_ms(moved)
    }
}

/// The machine's time: what a client that knows nothing of the sandbox's offset puts into its requests.
#[expect(clippy::disallowed_methods, reason = "the one place where the sandbox reads real time")]
pub(crate) fn real_now() -> Timestamp {
    Timestamp::now()
}

/// `at` and then `ms` later; the end of time at most.
pub(crate) fn later(at: Timestamp, ms: u64) -> Timestamp {
    let delay = SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX));
    at.checked_add(delay).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skipping_adds_up_and_stays_in_range() {
        let clock = Clock::default();
        clock.skip_ms(60_000).unwrap();
        clock.skip_ms(-20_000).unwrap();
        assert_eq!(clock.offset_ms(), 40_000);
        assert!(clock.now() > real_now() + SignedDuration::from_secs(39));
        assert!(clock.skip_ms(i64::MAX).is_err());
        assert!(clock.set_offset_ms(i64::MIN).is_err());
        assert_eq!(clock.offset_ms(), 40_000);
    }
}
