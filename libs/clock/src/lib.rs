//! The current time as a parameter, so that a test can decide what time it is.
//!
//! Nothing else in the workspace reads the system's clock: what needs the time takes a [`Clock`]. Production passes
//! [`Clock::system`]; a test passes [`Clock::manual`] and moves it with [`Clock::advance`].
//!
//! Replicas on machines whose clocks differ must still agree on what is due. They share a database, so its time is
//! the one that counts: a system clock that is told by [`Clock::set_to`] what the database says shows that from then on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};

/// Where the time comes from. Clones share their hands.
///
/// Times are whole microseconds, because that is what PostgreSQL's `timestamptz` keeps: an instant that was stored and
/// read back is equal to the one still in memory.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// Microseconds by which the system's clock is to be corrected.
    System(Arc<AtomicI64>),
    /// Microseconds since 1970; always within [`Timestamp`]'s range.
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Clock {
        Clock(Source::System(Arc::default()))
    }

    /// A clock that shows `start`, less its fraction of a microsecond, until it is moved by [`Clock::advance`].
    pub fn manual(start: Timestamp) -> Clock {
        Clock(Source::Manual(Arc::new(AtomicI64::new(start.as_microsecond()))))
    }

    /// The present instant in whole microseconds; a smaller fraction is dropped.
    ///
    /// A system clock may step backwards when the machine's time is corrected: use it to say when something happened,
    /// not to measure how long it took.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System(correction) => {
                whole_microseconds(system_microseconds().saturating_add(correction.load(Ordering::Relaxed)))
            }
            Source::Manual(microseconds) => whole_microseconds(microseconds.load(Ordering::SeqCst)),
        }
    }

    /// Makes a system clock, and every clone of it, show `time` now and run on from there. Returns how far it had been
    /// from it: positive when it was behind. A manual clock stays as it is and zero is returned: the test decides.
    pub fn set_to(&self, time: Timestamp) -> SignedDuration {
        let Source::System(correction) = &self.0 else {
            return SignedDuration::ZERO;
        };
        let new = time.as_microsecond().saturating_sub(system_microseconds());
        let old = correction.swap(new, Ordering::Relaxed);
        SignedDuration::from_micros(new.saturating_sub(old))
    }

    /// Moves a manual clock, and every clone of it, by `by`: forwards, or backwards when negative.
    ///
    /// # Panics
    ///
    /// On a system clock, which only time can move, and beyond the years [`Timestamp`] can express. Only tests move
    /// clocks, and both are mistakes in the test.
    pub fn advance(&self, by: SignedDuration) {
        let Source::Manual(microseconds) = &self.0 else {
            panic!("the system clock cannot be advanced");
        };
        let moved = |now| whole_microseconds(now).checked_add(by).ok().map(Timestamp::as_microsecond);
        microseconds
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, moved)
            .expect("a clock must stay within the years -9999 to 9999");
    }
}

fn whole_microseconds(microseconds: i64) -> Timestamp {
    Timestamp::from_microsecond(microseconds).expect("the number was taken from a timestamp")
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the system's clock")]
fn system_microseconds() -> i64 {
    Timestamp::now()
        .as_microsecond()
        .saturating_add(tael_fault::clock_skew_seconds().saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_manual_clock_stands_still_until_advanced() {
        let clock = Clock::manual(at("2026-03-01T08:00:00Z"));
        assert_eq!(clock.now(), at("2026-03-01T08:00:00Z"));
        assert_eq!(clock.now(), at("2026-03-01T08:00:00Z"));

        clock.advance(SignedDuration::from_mins(90));
        assert_eq!(clock.now(), at("2026-03-01T09:30:00Z"));

        clock.advance(SignedDuration::from_micros(-1));
        assert_eq!(clock.now(), at("2026-03-01T09:29:59.999999Z"));
    }

    #[test]
    fn clones_of_a_manual_clock_move_together() {
        let clock = Clock::manual(at("2026-03-01T08:00:00Z"));
        let held_by_a_service = clock.clone();
        clock.advance(SignedDuration::from_secs(5));
        assert_eq!(held_by_a_service.now(), at("2026-03-01T08:00:05Z"));
    }

    #[test]
    fn times_are_whole_microseconds() {
        let clock = Clock::manual(at("2026-03-01T08:00:00.123456789Z"));
        assert_eq!(clock.now(), at("2026-03-01T08:00:00.123456Z"));
        assert_eq!(Clock::system().now().subsec_nanosecond() % 1_000, 0);
    }

    #[test]
    fn the_system_clock_runs() {
        let clock = Clock::system();
        let start = clock.now();
        while clock.now() == start {
            std::hint::spin_loop();
        }
        assert!(start > at("2026-01-01T00:00:00Z"));
    }

    #[test]
    fn a_system_clock_follows_what_it_is_set_to() {
        let clock = Clock::system();
        let held_by_a_service = clock.clone();
        let an_hour_off = clock.now() + SignedDuration::from_hours(1);
        let behind = clock.set_to(an_hour_off);
        assert!((SignedDuration::from_mins(59)..=SignedDuration::from_mins(60)).contains(&behind));
        assert!(held_by_a_service.now() >= an_hour_off);
        assert!(held_by_a_service.now() < an_hour_off + SignedDuration::from_mins(1));
        // It is measured from what it showed, not from the machine's.
        assert!(clock.set_to(clock.now()).abs() < SignedDuration::from_mins(1));
    }

    #[test]
    fn a_manual_clock_is_not_set_by_others() {
        let clock = Clock::manual(at("2026-03-01T08:00:00Z"));
        assert_eq!(clock.set_to(at("2026-03-01T09:00:00Z")), SignedDuration::ZERO);
        assert_eq!(clock.now(), at("2026-03-01T08:00:00Z"));
    }

    #[test]
    #[should_panic(expected = "the system clock cannot be advanced")]
    fn the_system_clock_cannot_be_advanced() {
        Clock::system().advance(SignedDuration::from_secs(1));
    }

    #[test]
    #[should_panic(expected = "within the years")]
    fn a_clock_cannot_leave_the_calendar() {
        let clock = Clock::manual(at("9999-12-30T21:00:00Z"));
        clock.advance(SignedDuration::from_hours(2));
    }
}
