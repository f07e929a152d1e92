//! How far behind a consumer is, as metrics.
//!
//! - `tael.event.lag`: about how many events there are still to apply.
//! - `tael.event.lag_seconds`: the age of the oldest of them; 0 when there is none.
//! - `tael.event.applied`, `tael.event.set_aside`: events that had an effect, and those that could not be applied.
//!
//! Each has the attributes `service` and `source`. A replica that stands by tells no lag.

use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Counter;
use tael_clock::Clock;
use tael_proto::event::v1::{Cursor, Event};

#[derive(Debug)]
pub(super) struct Progress {
    behind: Arc<Mutex<Option<Behind>>>,
    applied: Counter<u64>,
    set_aside: Counter<u64>,
    attributes: [KeyValue; 2],
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
        let behind: Arc<Mutex<Option<Behind>>> = Arc::default();
        let _lag = meter
            .u64_observable_gauge("tael.event.lag")
            .with_description("Events still to be applied")
            .with_callback({
                let (behind, attributes) = (Arc::clone(&behind), attributes.clone());
                move |gauge| {
                    if let Some(behind) = *lock(&behind) {
                        gauge.observe(behind.events, &attributes);
                    }
                }
            })
            .build();
        let clock = Clock::system();
        let _seconds = meter
            .f64_observable_gauge("tael.event.lag_seconds")
            .with_description("Age of the oldest event still to be applied")
            .with_unit("s")
            .with_callback({
                let (behind, attributes) = (Arc::clone(&behind), attributes.clone());
                move |gauge| {
                    if let Some(behind) = *lock(&behind) {
                        gauge.observe(behind.seconds(clock.now()), &attributes);
                    }
                }
            })
            .build();
        Self {
            behind,
            applied: meter.u64_counter("tael.event.applied").with_description("Events applied").build(),
            set_aside: meter
                .u64_counter("tael.event.set_aside")
                .with_description("Events that could not be applied")
                .build(),
            attributes,
        }
    }

    /// Another replica works.
    pub(super) fn stands_by(&self) {
        *lock(&self.behind) = None;
    }

    /// A batch was read and is about to be applied.
    pub(super) fn begun(&self, events: &[Event], head_sequence: u64) {
        *lock(&self.behind) = Some(Behind::before(events, head_sequence));
    }

    /// The batch was applied up to a position.
    pub(super) fn ended(&self, to: Cursor, head_sequence: u64) {
        if let Some(behind) = lock(&self.behind).as_mut() {
            *behind = behind.after(to, head_sequence);
        }
    }

    pub(super) fn applied(&self, count: usize) {
        self.applied.add(count as u64, &self.attributes);
    }

    pub(super) fn set_aside(&self, count: usize) {
        self.set_aside.add(count as u64, &self.attributes);
    }
}

impl Behind {
    fn before(events: &[Event], head_sequence: u64) -> Self {
        let (Some(first), Some(last)) = (events.first(), events.last()) else {
            return Self::default();
        };
        let after = head_sequence.saturating_sub(last.cursor.map_or(0, |cursor| cursor.sequence));
        let since = first.occur_time.as_ref().and_then(|t| Timestamp::new(t.seconds, t.nanos).ok());
        Self { events: events.len() as u64 + after, since }
    }

    fn after(self, to: Cursor, head_sequence: u64) -> Self {
        match head_sequence.saturating_sub(to.sequence) {
            0 => Self::default(),
            // The next one is a little younger; how much is known as soon as it is read.
            events => Self { events, ..self },
        }
    }

    fn seconds(self, now: Timestamp) -> f64 {
        self.since.map_or(0.0, |since| now.duration_since(since).as_secs_f64().max(0.0))
    }
}

fn lock(behind: &Mutex<Option<Behind>>) -> MutexGuard<'_, Option<Behind>> {
    behind.lock().expect("nothing panics while it holds the progress")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sequence: u64, seconds: i64) -> Event {
        Event {
            cursor: Some(Cursor { transaction: 1, sequence }),
            occur_time: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            ..Event::default()
        }
    }

    #[test]
    fn the_lag_counts_what_was_read_and_what_is_still_to_come() {
        let now = Timestamp::from_second(1_000).unwrap();
        let nothing = Behind::before(&[], 9);
        assert_eq!((nothing.events, nothing.seconds(now).to_bits()), (0, 0.0_f64.to_bits()));

        let before = Behind::before(&[event(7, 940), event(8, 990)], 108);
        assert_eq!((before.events, before.seconds(now).to_bits()), (102, 60.0_f64.to_bits()));
        let between = before.after(Cursor { transaction: 1, sequence: 8 }, 108);
        assert_eq!((between.events, between.since), (100, before.since));
        assert_eq!(before.after(Cursor { transaction: 1, sequence: 8 }, 8), Behind::default());
    }

    #[test]
    fn an_event_from_a_clock_that_is_ahead_is_not_younger_than_now() {
        let behind = Behind::before(&[event(1, 2_000)], 1);
        assert_eq!(behind.seconds(Timestamp::from_second(1_000).unwrap()).to_bits(), 0.0_f64.to_bits());
    }
}
