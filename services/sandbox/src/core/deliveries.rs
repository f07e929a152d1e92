//! The notifications that are due, were tried, or are held back: pure bookkeeping, time passed in.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{clock::later, faults::NotificationFault};
use crate::control::messages::{AttemptView, DeliveryState, NotificationEvent, NotificationView};

/// How long a reordered notification is held when no other one comes to overtake it, before time scaling.
const MAX_HOLD: SignedDuration = SignedDuration::from_mins(4);

/// What a notification tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The trade was paid.
    Paid,
    /// The refund at this position of its trade was done.
    Refunded(usize),
    /// The trade was closed without money.
    Closed,
}

impl Event {
    /// The event as control names it.
    pub fn kind(self) -> NotificationEvent {
        match self {
            Self::Paid => NotificationEvent::Payment,
            Self::Refunded(_) => NotificationEvent::Refund,
            Self::Closed => NotificationEvent::Closed,
        }
    }
}

/// What a notification says, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    /// Its id, the same in every delivery.
    pub notify_id: String,
    /// The account it is for.
    pub account: String,
    /// The position, in the channel's own list, of the trade it is about.
    pub trade: usize,
    /// What it tells.
    pub event: Event,
    /// Where it goes.
    pub url: String,
}

/// One notification's way: one id, as many deliveries as the channel's schedule has.
#[derive(Debug)]
struct Delivery {
    notification: Notification,
    attempts: Vec<Attempt>,
    state: State,
    /// Deliveries of the retry schedule that have failed.
    failures: usize,
    acknowledged: bool,
    copies_left: u32,
    attempts_to_lose: u32,
}

/// Where a notification stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Due(Timestamp),
    /// Held until another notification of the account was tried, or until this time.
    Held(Timestamp),
    InFlight,
    Acknowledged,
    /// The whole schedule without an acknowledgement.
    GivenUp,
    /// Lost by a fault: never sent at all.
    Lost,
}

/// One delivery attempt.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) at: Timestamp,
    pub(crate) outcome: Outcome,
}

/// How an attempt went.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    Answered {
        status: u16,
        body: String,
    },
    /// No complete answer: refused, broken, too slow.
    Failed {
        error: String,
    },
    /// Lost by a fault.
    Lost,
}

/// All notifications of a channel.
#[derive(Debug)]
pub struct Deliveries {
    all: Vec<Delivery>,
    /// Those due or held, by time: what the dispatcher has to look at.
    agenda: BTreeSet<(Timestamp, usize)>,
    /// Those that wait for another one to overtake them (and some that no longer do).
    held: Vec<usize>,
    /// The waits between deliveries; there is one delivery more.
    schedule: &'static [SignedDuration],
    time_scale: i32,
}

impl Deliveries {
    /// No notifications yet, and no repetitions until the channel's schedule is set. All waits are divided by
    /// `time_scale`.
    pub(crate) fn new(time_scale: u32) -> Self {
        let time_scale = i32::try_from(time_scale.max(1)).unwrap_or(i32::MAX);
        Self { all: Vec::new(), agenda: BTreeSet::new(), held: Vec::new(), schedule: &[], time_scale }
    }

    /// Sets the waits between the deliveries of a notification that is not acknowledged.
    pub fn set_schedule(&mut self, schedule: &'static [SignedDuration]) {
        self.schedule = schedule;
    }

    /// Adds a notification, with the fault that was chosen for it, and returns its position.
    pub fn add(
        &mut self,
        notification: Notification,
        fault: Option<NotificationFault>,
        now: Timestamp,
    ) -> usize {
        let mut delivery = Delivery {
            notification,
            attempts: Vec::new(),
            state: State::Due(now),
            failures: 0,
            acknowledged: false,
            copies_left: 0,
            attempts_to_lose: 0,
        };
        match fault {
            None => {}
            Some(NotificationFault::Lose { attempts: None }) => delivery.state = State::Lost,
            Some(NotificationFault::Lose { attempts: Some(attempts) }) => {
                delivery.attempts_to_lose = attempts;
            }
            Some(NotificationFault::Delay { delay_ms }) => {
                delivery.state = State::Due(later(now, delay_ms));
            }
            Some(NotificationFault::Duplicate { copies }) => delivery.copies_left = copies,
            Some(NotificationFault::Reorder) => {
                delivery.state = State::Held(now + MAX_HOLD / self.time_scale);
            }
        }
        let position = self.all.len();
        if let State::Due(at) | State::Held(at) = delivery.state {
            self.agenda.insert((at, position));
        }
        if matches!(delivery.state, State::Held(_)) {
            self.held.push(position);
        }
        self.all.push(delivery);
        position
    }

    /// What the notification at a position says.
    pub fn notification(&self, position: usize) -> &Notification {
        &self.all[position].notification
    }

    /// The notification at a position with its deliveries, for control.
    pub fn view(&self, position: usize) -> NotificationView {
        let Delivery { notification, attempts, state, .. } = &self.all[position];
        let (state, next_attempt_at) = match *state {
            State::Due(at) => (DeliveryState::Scheduled, Some(at)),
            State::Held(at) => (DeliveryState::Held, Some(at)),
            State::InFlight => (DeliveryState::InFlight, None),
            State::Acknowledged => (DeliveryState::Acknowledged, None),
            State::GivenUp => (DeliveryState::GivenUp, None),
            State::Lost => (DeliveryState::Lost, None),
        };
        let attempts = attempts.iter().map(|attempt| {
            let (http_status, body, error) = match &attempt.outcome {
                Outcome::Answered { status, body } => (Some(*status), Some(body.clone()), None),
                Outcome::Failed { error } => (None, None, Some(error.clone())),
                Outcome::Lost => (None, None, Some("lost by a fault".to_owned())),
            };
            AttemptView { at: attempt.at, http_status, body, error }
        });
        NotificationView {
            notify_id: notification.notify_id.clone(),
            event: notification.event.kind(),
            url: notification.url.clone(),
            state,
            next_attempt_at,
            attempts: attempts.collect(),
        }
    }

    /// The notification with this `notify_id`.
    pub fn find(&self, notify_id: &str) -> Option<usize> {
        self.all.iter().position(|delivery| delivery.notification.notify_id == notify_id)
    }

    /// Takes up to `limit` notifications that are due and marks them in flight; attempts lost by a fault are recorded
    /// here and not given out.
    pub(crate) fn take_due(&mut self, now: Timestamp, limit: usize) -> Vec<usize> {
        let mut due = Vec::new();
        while due.len() < limit {
            let Some(&(at, position)) = self.agenda.first() else { break };
            if at > now {
                break;
            }
            self.agenda.pop_first();
            let delivery = &mut self.all[position];
            delivery.state = State::InFlight;
            if delivery.attempts_to_lose > 0 {
                delivery.attempts_to_lose -= 1;
                self.record(position, Attempt { at: now, outcome: Outcome::Lost }, false, now);
            } else {
                due.push(position);
            }
        }
        due
    }

    /// When the next notification is due, if any is.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.agenda.first().map(|(at, _)| *at)
    }

    /// Notes how an attempt went, whether it was an acknowledgement, and plans what follows from it.
    pub(crate) fn record(&mut self, position: usize, attempt: Attempt, acknowledged: bool, now: Timestamp) {
        let delivery = &mut self.all[position];
        delivery.acknowledged |= acknowledged;
        delivery.attempts.push(attempt);
        delivery.state = if delivery.copies_left > 0 {
            delivery.copies_left -= 1;
            State::Due(now)
        } else if delivery.acknowledged {
            State::Acknowledged
        } else {
            delivery.failures += 1;
            match self.schedule.get(delivery.failures - 1) {
                Some(wait) => State::Due(now + *wait / self.time_scale),
                None => State::GivenUp,
            }
        };
        if let State::Due(at) = delivery.state {
            self.agenda.insert((at, position));
        }
        self.release_held(position, now);
    }

    /// Delivers a notification once more, whatever became of it, under the same `notify_id`. Does nothing while it is
    /// being delivered.
    pub(crate) fn resend(&mut self, position: usize, now: Timestamp) {
        let delivery = &mut self.all[position];
        match delivery.state {
            State::InFlight => return,
            State::Due(at) | State::Held(at) => {
                self.agenda.remove(&(at, position));
            }
            State::Acknowledged | State::GivenUp | State::Lost => {}
        }
        delivery.state = State::Due(now);
        self.agenda.insert((now, position));
    }

    /// A notification was tried: those of the same account that were held for that are now due.
    fn release_held(&mut self, tried: usize, now: Timestamp) {
        for position in std::mem::take(&mut self.held) {
            let State::Held(at) = self.all[position].state else { continue };
            if position == tried
                || self.all[position].notification.account != self.all[tried].notification.account
            {
                self.held.push(position);
                continue;
            }
            self.agenda.remove(&(at, position));
            self.all[position].state = State::Due(now);
            self.agenda.insert((now, position));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Timestamp {
        "2026-03-01T04:00:00Z".parse().unwrap()
    }

    /// Four minutes, then an hour.
    const SCHEDULE: [SignedDuration; 2] = [SignedDuration::from_mins(4), SignedDuration::from_hours(1)];

    fn empty(time_scale: u32) -> Deliveries {
        let mut deliveries = Deliveries::new(time_scale);
        deliveries.set_schedule(&SCHEDULE);
        deliveries
    }

    fn add(deliveries: &mut Deliveries, account: &str, fault: Option<NotificationFault>) -> usize {
        let notification = Notification {
            notify_id: "n".to_owned(),
            account: account.to_owned(),
            trade: 0,
            event: Event::Paid,
            url: "http://shop.example/".to_owned(),
        };
        deliveries.add(notification, fault, start())
    }

    fn answer(deliveries: &mut Deliveries, position: usize, at: Timestamp, acknowledged: bool) {
        let outcome = Outcome::Answered { status: 200, body: "any".to_owned() };
        deliveries.record(position, Attempt { at, outcome }, acknowledged, at);
    }

    #[test]
    fn what_is_never_acknowledged_is_delivered_on_the_schedule() {
        for (scale, unit) in [(1, SignedDuration::from_mins(1)), (60, SignedDuration::from_secs(1))] {
            let mut deliveries = empty(scale);
            let position = add(&mut deliveries, "a", None);
            let mut waits = Vec::new();
            let mut now = start();
            while let Some(due) = deliveries.next_due() {
                assert!(deliveries.take_due(due - SignedDuration::from_millis(1), 9).is_empty());
                assert_eq!(deliveries.take_due(due, 9), [position]);
                waits.push(due.duration_since(now).as_millis() / unit.as_millis());
                now = due;
                answer(&mut deliveries, position, now, false);
            }
            assert_eq!(waits, [0, 4, 60]);
            assert_eq!(deliveries.all[position].state, State::GivenUp);
        }
    }

    #[test]
    fn duplicates_are_sent_although_acknowledged() {
        let mut deliveries = empty(1);
        let position = add(&mut deliveries, "a", Some(NotificationFault::Duplicate { copies: 2 }));
        for _ in 0..3 {
            assert_eq!(deliveries.take_due(start(), 9), [position]);
            answer(&mut deliveries, position, start(), true);
        }
        assert_eq!(deliveries.all[position].state, State::Acknowledged);
        assert_eq!(deliveries.next_due(), None);
    }

    #[test]
    fn lost_attempts_are_logged_and_retried() {
        let mut deliveries = empty(1);
        let position = add(&mut deliveries, "a", Some(NotificationFault::Lose { attempts: Some(1) }));
        assert!(deliveries.take_due(start(), 9).is_empty());
        assert!(matches!(deliveries.all[position].attempts[0].outcome, Outcome::Lost));
        assert_eq!(deliveries.next_due(), Some(start() + SignedDuration::from_mins(4)));

        let lost = add(&mut deliveries, "a", Some(NotificationFault::Lose { attempts: None }));
        assert_eq!(deliveries.all[lost].state, State::Lost);
        deliveries.resend(lost, start());
        assert_eq!(deliveries.take_due(start(), 9), [lost]);
    }

    #[test]
    fn a_reordered_notification_waits_for_the_next_one_of_its_account() {
        let mut deliveries = empty(1);
        let first = add(&mut deliveries, "a", Some(NotificationFault::Reorder));
        let stranger = add(&mut deliveries, "b", None);
        let second = add(&mut deliveries, "a", None);
        assert_eq!(deliveries.take_due(start(), 9), [stranger, second]);
        answer(&mut deliveries, stranger, start(), true);
        assert!(deliveries.take_due(start(), 9).is_empty());
        answer(&mut deliveries, second, start(), true);
        assert_eq!(deliveries.take_due(start(), 9), [first]);
    }

    #[test]
    fn a_reordered_notification_is_not_held_for_ever() {
        let mut deliveries = empty(1);
        let only = add(&mut deliveries, "a", Some(NotificationFault::Reorder));
        assert_eq!(deliveries.take_due(start() + MAX_HOLD, 9), [only]);
    }
}
