//! Faults that a test puts into a process from outside, by its environment. Debug builds only: in a release build every
//! function here is empty and no variable is read.
//!
//! * `TAEL_FAULT_CRASH_AT=<name>[:<n>]` ends the process at the crash point of that name, the n-th time it is passed
//!   (the first by default), as SIGKILL would: nothing is drained, dropped or flushed.
//! * `TAEL_FAULT_CLOCK_SKEW_SECONDS=<seconds>` sets the machine's clock off by so much, either way.

/// A place between two effects, where a crash leaves the one without the other. Tests stop the process here and show
/// that it recovers.
#[inline]
pub fn crash_point(name: &str) {
    #[cfg(debug_assertions)]
    armed::pass(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// By how many seconds the machine's clock is to be wrong: positive for ahead.
#[inline]
pub fn clock_skew_seconds() -> i64 {
    #[cfg(debug_assertions)]
    return armed::clock_skew_seconds();
    #[cfg(not(debug_assertions))]
    0
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    const CRASH_AT: &str = "TAEL_FAULT_CRASH_AT";
    const CLOCK_SKEW: &str = "TAEL_FAULT_CLOCK_SKEW_SECONDS";

    struct Armed {
        name: String,
        /// How often the point may still be passed.
        left: AtomicU32,
    }

    static ARMED: LazyLock<Option<Armed>> =
        LazyLock::new(|| std::env::var(CRASH_AT).ok().map(|text| parse(&text)));

    static SKEW: LazyLock<i64> = LazyLock::new(|| {
        std::env::var(CLOCK_SKEW)
            .map_or(0, |text| text.parse().expect("TAEL_FAULT_CLOCK_SKEW_SECONDS is a number"))
    });

    fn parse(text: &str) -> Armed {
        let (name, count) = match text.rsplit_once(':') {
            Some((name, count)) => (name, count.parse().expect("TAEL_FAULT_CRASH_AT ends with a number")),
            None => (text, 1),
        };
        Armed { name: name.to_owned(), left: AtomicU32::new(count) }
    }

    pub(super) fn pass(name: &str) {
        if let Some(armed) = &*ARMED
            && armed.is_due(name)
        {
            // The test reads this to know that it was here and not by a mistake that the process ended.
            eprintln!("crash point {name}");
            std::process::abort();
        }
    }

    impl Armed {
        fn is_due(&self, name: &str) -> bool {
            self.name == name && self.left.fetch_sub(1, Ordering::SeqCst) == 1
        }
    }

    pub(super) fn clock_skew_seconds() -> i64 {
        *SKEW
    }

    #[cfg(test)]
    mod tests {
        use super::parse;

        #[test]
        fn a_point_is_due_the_nth_time_it_is_passed() {
            let first = parse("payment.create.committed");
            assert!(!first.is_due("payment.create.called"));
            assert!(first.is_due("payment.create.committed"));
            let third = parse("payment.create.committed:3");
            let passes: Vec<bool> = (0..4).map(|_| third.is_due("payment.create.committed")).collect();
            assert_eq!(passes, [false, false, true, false]);
        }
    }
}
