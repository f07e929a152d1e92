//! Whether a channel account is worth calling: a circuit breaker.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Answers are counted in windows of this length.
const WINDOW: SignedDuration = SignedDuration::from_secs(10);
/// So many calls of one window without an answer, and no fewer than were answered, open the breaker.
const TOO_MANY: u32 = 5;
/// How long it is open at first. Each probe that fails doubles that, up to the last.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
const LAST_PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// Counts what is answered and what is not, and says who may call. A refusal is an answer: only silence, and what is not
/// surely the channel's, counts against it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Breaker {
    state: State,
    /// How long a probe may take before another one may go.
    probe_life: SignedDuration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Everybody may call.
    Closed { since: Timestamp, answered: u32, unanswered: u32 },
    /// Nobody may call until then.
    Open { until: Timestamp, pause: SignedDuration },
    /// One is calling, to find out; nobody else may until it has an answer, or is overdue.
    Probing { until: Timestamp, pause: SignedDuration },
}

impl Breaker {
    /// A closed one, for calls that end within `call_timeout` each.
    pub(crate) fn new(call_timeout: Duration) -> Self {
        // Overdue is a probe that was let pass and then had no reason to call.
        let probe_life =
            SignedDuration::try_from(call_timeout + Duration::from_secs(1)).unwrap_or(LAST_PAUSE);
        Self { state: State::closed(Timestamp::UNIX_EPOCH), probe_life }
    }

    /// Lets a caller pass, or says when to come back. After the pause one may pass as a probe; whether it is
    /// [answered](Self::answered) or not decides for the others.
    pub(crate) fn admit(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        match self.state {
            State::Closed { .. } => Ok(()),
            State::Open { until, pause } | State::Probing { until, pause } => {
                // Farther away than it was ever put: the clock was set back.
                let is_sound = until.duration_since(now) <= pause.max(self.probe_life);
                if now < until && is_sound {
                    return Err(until);
                }
                self.state = State::Probing { until: after(now, self.probe_life), pause };
                Ok(())
            }
        }
    }

    /// A call was answered, whatever the answer. Whoever answers one call is worth calling.
    pub(crate) fn answered(&mut self, now: Timestamp) {
        match &mut self.state {
            State::Closed { since, answered, .. } if is_current(*since, now) => *answered += 1,
            State::Closed { .. } | State::Open { .. } | State::Probing { .. } => {
                self.state = State::Closed { since: now, answered: 1, unanswered: 0 };
            }
        }
    }

    /// A call had no answer.
    pub(crate) fn unanswered(&mut self, now: Timestamp) {
        match &mut self.state {
            State::Closed { since, answered, unanswered } => {
                if !is_current(*since, now) {
                    (*since, *answered, *unanswered) = (now, 0, 0);
                }
                *unanswered += 1;
                if *unanswered >= TOO_MANY && *unanswered >= *answered {
                    self.state = State::Open { until: after(now, FIRST_PAUSE), pause: FIRST_PAUSE };
                }
            }
            // From a call that was begun before.
            State::Open { .. } => {}
            State::Probing { pause, .. } => {
                let pause = (*pause * 2).min(LAST_PAUSE);
                self.state = State::Open { until: after(now, pause), pause };
            }
        }
    }

    /// Whether callers are turned away, but for probes.
    pub(crate) fn is_open(&self) -> bool {
        match self.state {
            State::Closed { .. } => false,
            State::Open { .. } | State::Probing { .. } => true,
        }
    }
}

impl State {
    fn closed(since: Timestamp) -> Self {
        Self::Closed { since, answered: 0, unanswered: 0 }
    }
}

fn is_current(since: Timestamp, now: Timestamp) -> bool {
    (SignedDuration::ZERO..WINDOW).contains(&now.duration_since(since))
}

fn after(now: Timestamp, pause: SignedDuration) -> Timestamp {
    now.saturating_add(pause).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_772_352_000 + seconds).unwrap()
    }

    fn breaker(state: State) -> Breaker {
        Breaker { state, probe_life: SignedDuration::from_secs(50) }
    }

    fn closed(since: i64, answered: u32, unanswered: u32) -> State {
        State::Closed { since: at(since), answered, unanswered }
    }

    fn open(until: i64, pause: i64) -> State {
        State::Open { until: at(until), pause: SignedDuration::from_secs(pause) }
    }

    fn probing(until: i64, pause: i64) -> State {
        State::Probing { until: at(until), pause: SignedDuration::from_secs(pause) }
    }

    /// Every state with every event, at second 100.
    #[test]
    fn the_table_of_states_and_events() {
        let now = at(100);
        let table = [
            // before                 admitted        then               answered          unanswered
            (closed(95, 0, 0), Ok(()), closed(95, 0, 0), closed(95, 1, 0), closed(95, 0, 1)),
            (closed(95, 3, 4), Ok(()), closed(95, 3, 4), closed(95, 4, 4), open(105, 5)),
            (closed(95, 6, 4), Ok(()), closed(95, 6, 4), closed(95, 7, 4), closed(95, 6, 5)),
            // A new window.
            (closed(90, 0, 4), Ok(()), closed(90, 0, 4), closed(100, 1, 0), closed(100, 0, 1)),
            // The clock was set back.
            (closed(101, 0, 4), Ok(()), closed(101, 0, 4), closed(100, 1, 0), closed(100, 0, 1)),
            (open(101, 5), Err(at(101)), open(101, 5), closed(100, 1, 0), open(101, 5)),
            (open(100, 5), Ok(()), probing(150, 5), closed(100, 1, 0), open(100, 5)),
            (open(3_700, 5), Ok(()), probing(150, 5), closed(100, 1, 0), open(3_700, 5)),
            (probing(101, 5), Err(at(101)), probing(101, 5), closed(100, 1, 0), open(110, 10)),
            (probing(101, 40), Err(at(101)), probing(101, 40), closed(100, 1, 0), open(160, 60)),
            // The probe is overdue.
            (probing(100, 5), Ok(()), probing(150, 5), closed(100, 1, 0), open(110, 10)),
        ];
        for (before, admitted, then, answered, unanswered) in table {
            let mut one = breaker(before);
            assert_eq!((one.admit(now), one.state), (admitted, then), "{before:?} is asked");
            let mut one = breaker(before);
            one.answered(now);
            assert_eq!(one.state, answered, "{before:?} is answered");
            let mut one = breaker(before);
            one.unanswered(now);
            assert_eq!(one.state, unanswered, "{before:?} is not answered");
        }
    }

    #[test]
    fn an_outage_lets_a_trickle_through() {
        let mut breaker = Breaker::new(Duration::from_secs(10));
        let mut called = Vec::new();
        // Ten callers a second for five minutes, and no answer.
        for second in 0..300 {
            for _ in 0..10 {
                if breaker.admit(at(second)).is_ok() {
                    called.push(second);
                    breaker.unanswered(at(second));
                }
            }
        }
        assert_eq!(called, [0, 0, 0, 0, 0, 5, 15, 35, 75, 135, 195, 255]);
        assert!(breaker.is_open());
        breaker.admit(at(315)).unwrap();
        breaker.answered(at(316));
        assert!(!breaker.is_open());
    }
}
