//! How far behind a consumer is, as metrics.
//!
//! - `tael.event.lag`: about how many events there are still to apply.
//! - `tael.event.lag_seconds`: the age of the oldest of them; 0 when there is none.
//! - `tael.event.applied`, `tael.event.dead_letters`: events that had an effect, and those that could not be applied.
//!
//! Each has the attributes `service` and `source`. A replica that stands by tells no lag.

use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use tael_clock::Clock;
use tael_proto::event::v1::Event;

#[derive(Debug)]
pub(super) struct Progress {
    seen: Arc<Mutex<Seen>>,
    clock: Clock,
    applied: Counter<u64>,
    dead_letters: Counter<u64>,
    attributes: [KeyValue; 2],
}

/// What was seen of a log.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// How far behind this replica is; none while another works.
    behind: Option<Behind>,
    /// The highest number of an event that was read. What is higher and can't be read is hidden by a transaction that
    /// runs. (Not the last one's: the log is in the order of transactions.)
    highest: Option<u64>,
}

/// What is known to be still to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Behind {
    events: u64,
    /// When the first of them became true; none when there is none.
    since: Option<Timestamp>,
}

impl Progress {
    pub(super) fn new(service: &'static str, source: &'static str) -> Self {
        let meter = tael_telemetry::meter();
        let attributes = [KeyValue::new("service", service), KeyValue::new("source", source)];
        let clock = Clock::system();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let _lag = meter
            .u64_observable_gauge("tael.event.lag")
            .with_description("Events still to be applied")
            .with_callback({
                let (seen, attributes) = (Arc::clone(&seen), attributes.clone());
                move |gauge| {
                    if let Some(behind) = lock(&seen).behind {
                        gauge.observe(behind.events, &attributes);
                    }
                }
            })
            .build();
        let _seconds = meter
            .f64_observable_gauge("tael.event.lag_seconds")
            .with_description("Age of the oldest event still to be applied")
            .with_unit("s")
            .with_callback({
                let (seen, clock, attributes) = (Arc::clone(&seen), clock.clone(), attributes.clone());
                move |gauge| {
                    if let Some(behind) = lock(&seen).behind {
                        gauge.observe(behind.seconds(clock.now()), &attributes);
                    }
                }
            })
            .build();
        Self {
            seen,
            clock,
            applied: meter.u64_counter("tael.event.applied").with_description("Events applied").build(),
            dead_letters: meter
                .u64_counter("tael.event.dead_letters")
                .with_description("Events that could not be applied")
                .build(),
            attributes,
        }
    }

    /// Another replica works.
    pub(super) fn stands_by(&self) {
        *lock(&self.seen) = Seen::default();
    }

    /// A batch was read and is about to be applied.
    pub(super) fn begun(&self, events: &[Event], head_sequence: u64) {
        lock(&self.seen).begin(events, head_sequence, self.clock.now());
    }

    /// The batch was applied.
    pub(super) fn ended(&self, head_sequence: u64) {
        lock(&self.seen).end(head_sequence);
    }

    pub(super) fn applied(&self, count: usize) {
        self.applied.add(count as u64, &self.attributes);
    }

    pub(super) fn dead_lettered(&self, count: usize) {
        self.dead_letters.add(count as u64, &self.attributes);
    }
}

impl Seen {
    fn begin(&mut self, events: &[Event], head_sequence: u64, now: Timestamp) {
        let read = events.iter().filter_map(|event| event.cursor).map(|cursor| cursor.sequence).max();
        // Whoever begins at the end of a log has not seen its highest number.
        let highest = self.highest.max(read).unwrap_or(head_sequence);
        self.highest = Some(highest);
        let to_come = head_sequence.saturating_sub(highest);
        let since = match events.first() {
            Some(first) => first.occur_time.as_ref().and_then(|t| Timestamp::new(t.seconds, t.nanos).ok()),
            None if to_come == 0 => None,
            // Nobody can know how old what is hidden is; at least as old as our knowledge of it.
            None => self.behind.and_then(|behind| behind.since).or(Some(now)),
        };
        self.behind = Some(Behind { events: events.len() as u64 + to_come, since });
    }

    fn end(&mut self, head_sequence: u64) {
        let to_come = head_sequence.saturating_sub(self.highest.unwrap_or(head_sequence));
        if let Some(behind) = &mut self.behind {
            behind.events = to_come;
            // The next one is a little younger; how much is known as soon as it is read.
            behind.since = behind.since.filter(|_| to_come > 0);
        }
    }
}

impl Behind {
    fn seconds(self, now: Timestamp) -> f64 {
        self.since.map_or(0.0, |since| now.duration_since(since).as_secs_f64().max(0.0))
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().expect("nothing panics while it holds what was seen")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: u64, seconds: i64) -> Event {
        Event {
            cursor: Some(tael_proto::event::v1::Cursor { transaction: 1, sequence }),
            occur_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            ..Event::default()
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// How many events are to come, and for how many whole seconds.
    fn lag(seen: &Seen, now: i64) -> (u64, u64) {
        let behind = seen.behind.unwrap();
        (behind.events, std::time::Duration::from_secs_f64(behind.seconds(at(now))).as_secs())
    }

    #[test]
    fn the_lag_counts_what_was_read_and_what_is_still_to_come() {
        let mut seen = Seen::default();
        // The last one in the log's order need not have the highest number.
        seen.begin(&[event(8, 940), event(7, 990)], 108, at(1_000));
        assert_eq!(lag(&seen, 1_000), (102, 60));
        seen.end(108);
        assert_eq!(lag(&seen, 1_000), (100, 60));
        seen.begin(&[event(107, 995), event(108, 995)], 108, at(1_000));
        seen.end(108);
        assert_eq!(lag(&seen, 1_010), (0, 0));
    }

    #[test]
    fn whoever_begins_at_the_end_is_not_behind() {
        let mut seen = Seen::default();
        seen.begin(&[], 9, at(1_000));
        assert_eq!(lag(&seen, 1_010), (0, 0));
    }

    #[test]
    fn what_a_running_transaction_hides_is_to_come() {
        let mut seen = Seen::default();
        seen.begin(&[], 9, at(1_000));
        seen.begin(&[], 12, at(1_005));
        seen.end(12);
        seen.begin(&[], 12, at(1_010));
        assert_eq!(lag(&seen, 1_015), (3, 10));
        seen.begin(&[event(10, 1_004), event(11, 1_004), event(12, 1_004)], 12, at(1_015));
        seen.end(12);
        assert_eq!(lag(&seen, 1_020), (0, 0));
    }

    #[test]
    fn an_event_from_a_clock_that_is_ahead_is_not_younger_than_now() {
        let mut seen = Seen::default();
        seen.begin(&[event(1, 2_000)], 1, at(1_000));
        assert_eq!(lag(&seen, 1_000), (1, 0));
    }
}
