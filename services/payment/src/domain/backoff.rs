//! When to ask a channel again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// The waits between questions: each half as long again as the one before, from `first` up to `last`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) first: Duration,
    pub(crate) last: Duration,
}

impl Backoff {
    /// Returns when to ask after `tries` questions. `expiry` is not slept over: an unpaid order is closed on time.
    pub(crate) fn next(&self, now: Timestamp, tries: i32, expiry: Option<Timestamp>) -> Timestamp {
        let mut wait = self.first;
        for _ in 0..tries.clamp(0, 32) {
            wait = (wait * 3 / 2).min(self.last);
        }
        let at =
            now.saturating_add(SignedDuration::try_from(wait).unwrap_or(SignedDuration::MAX)).unwrap_or(now);
        match expiry {
            Some(expiry) if expiry > now => at.min(expiry),
            Some(_) | None => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_stop_at_the_expiry() {
        let now: Timestamp = "2026-03-01T08:00:00Z".parse().unwrap();
        let expiry: Timestamp = "2026-03-01T08:00:20Z".parse().unwrap();
        let backoff = Backoff { first: Duration::from_secs(4), last: Duration::from_mins(1) };
        let waits = |expiry| {
            [0, 1, 2, 50].map(|tries| backoff.next(now, tries, expiry).duration_since(now).as_secs())
        };
        assert_eq!(waits(None), [4, 6, 9, 60]);
        assert_eq!(waits(Some(expiry)), [4, 6, 9, 20]);
        assert_eq!(waits(Some(now)), [4, 6, 9, 60], "past its expiry it is asked about as often as before");
    }
}
