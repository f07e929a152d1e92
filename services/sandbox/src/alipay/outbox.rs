//! The notifications that are due, were tried, or are held back: pure bookkeeping, time passed in.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::faults::NotificationFault;

/// The waits between the eight deliveries (Alipay open platform: asynchronous notification), in minutes.
const RETRY_MINUTES: [i64; 7] = [4, 10, 10, 60, 120, 360, 900];
/// How long a reordered notification is held when no other one comes to overtake it, before time scaling.
const MAX_HOLD: SignedDuration = SignedDuration::from_mins(4);

/// What a notification tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    Paid,
    /// The refund at this position of its trade.
    Refunded(usize),
}

/// What a notification says, and to whom.
#[derive(Debug)]
pub(crate) struct News {
    pub(crate) notify_id: String,
    pub(crate) app_id: String,
    /// Position of the order it is about.
    pub(crate) order: usize,
    pub(crate) event: Event,
    pub(crate) url: String,
}

/// One notification: one `notify_id`, up to eight deliveries.
#[derive(Debug)]
pub(crate) struct Notification {
    pub(crate) news: News,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) state: Delivery,
    /// Deliveries of the retry schedule that have failed.
    failures: usize,
    acknowledged: bool,
    copies_left: u32,
    attempts_to_lose: u32,
}

/// Where a notification stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivery {
    Due(Timestamp),
    /// Held until another notification of the app was tried, or until this time.
    Held(Timestamp),
    InFlight,
    Acknowledged,
    /// Eight deliveries without an acknowledgement.
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

impl Outcome {
    /// Only HTTP 200 with a body of exactly `success` acknowledges (Alipay open platform: asynchronous notification).
    fn acknowledges(&self) -> bool {
        matches!(self, Self::Answered { status: 200, body } if body == "success")
    }
}

/// All notifications of the sandbox.
#[derive(Debug)]
pub(crate) struct Outbox {
    notifications: Vec<Notification>,
    /// Those due or held, by time: what the delivery loop has to look at.
    agenda: BTreeSet<(Timestamp, usize)>,
    /// Those that wait for another one to overtake them (and some that no longer do).
    held: Vec<usize>,
    time_scale: i32,
}

impl Outbox {
    /// An empty outbox whose waits are divided by `time_scale`.
    pub(crate) fn new(time_scale: u32) -> Self {
        let time_scale = i32::try_from(time_scale.max(1)).unwrap_or(i32::MAX);
        Self { notifications: Vec::new(), agenda: BTreeSet::new(), held: Vec::new(), time_scale }
    }

    /// Adds a notification, with the fault that was chosen for it, and returns its position.
    pub(crate) fn add(&mut self, news: News, fault: Option<NotificationFault>, now: Timestamp) -> usize {
        let mut notification = Notification {
            news,
            attempts: Vec::new(),
            state: Delivery::Due(now),
            failures: 0,
            acknowledged: false,
            copies_left: 0,
            attempts_to_lose: 0,
        };
        match fault {
            None => {}
            Some(NotificationFault::Lose { attempts: None }) => notification.state = Delivery::Lost,
            Some(NotificationFault::Lose { attempts: Some(attempts) }) => {
                notification.attempts_to_lose = attempts;
            }
            Some(NotificationFault::Delay { delay_ms }) => {
                let delay = SignedDuration::from_millis(i64::try_from(delay_ms).unwrap_or(i64::MAX));
                notification.state = Delivery::Due(now.checked_add(delay).unwrap_or(Timestamp::MAX));
            }
            Some(NotificationFault::Duplicate { copies }) => notification.copies_left = copies,
            Some(NotificationFault::Reorder) => {
                notification.state = Delivery::Held(now + MAX_HOLD / self.time_scale);
            }
        }
        let position = self.notifications.len();
        if let Delivery::Due(at) | Delivery::Held(at) = notification.state {
            self.agenda.insert((at, position));
        }
        if matches!(notification.state, Delivery::Held(_)) {
            self.held.push(position);
        }
        self.notifications.push(notification);
        position
    }

    pub(crate) fn get(&self, position: usize) -> &Notification {
        &self.notifications[position]
    }

    /// The notification with this `notify_id`.
    pub(crate) fn find(&self, notify_id: &str) -> Option<usize> {
        self.notifications.iter().position(|notification| notification.news.notify_id == notify_id)
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
            let notification = &mut self.notifications[position];
            notification.state = Delivery::InFlight;
            if notification.attempts_to_lose > 0 {
                notification.attempts_to_lose -= 1;
                self.record(position, Attempt { at: now, outcome: Outcome::Lost }, now);
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

    /// Notes how an attempt went and plans what follows from it.
    pub(crate) fn record(&mut self, position: usize, attempt: Attempt, now: Timestamp) {
        let notification = &mut self.notifications[position];
        notification.acknowledged |= attempt.outcome.acknowledges();
        notification.attempts.push(attempt);
        notification.state = if notification.copies_left > 0 {
            notification.copies_left -= 1;
            Delivery::Due(now)
        } else if notification.acknowledged {
            Delivery::Acknowledged
        } else {
            notification.failures += 1;
            match RETRY_MINUTES.get(notification.failures - 1) {
                Some(minutes) => Delivery::Due(now + SignedDuration::from_mins(*minutes) / self.time_scale),
                None => Delivery::GivenUp,
            }
        };
        if let Delivery::Due(at) = notification.state {
            self.agenda.insert((at, position));
        }
        self.release_held(position, now);
    }

    /// Delivers a notification once more, whatever became of it, under the same `notify_id`. Does nothing while it is
    /// being delivered.
    pub(crate) fn resend(&mut self, position: usize, now: Timestamp) {
        let notification = &mut self.notifications[position];
        match notification.state {
            Delivery::InFlight => return,
            Delivery::Due(at) | Delivery::Held(at) => {
                self.agenda.remove(&(at, position));
            }
            Delivery::Acknowledged | Delivery::GivenUp | Delivery::Lost => {}
        }
        notification.state = Delivery::Due(now);
        self.agenda.insert((now, position));
    }

    /// A notification was tried: those of the same app that were held for that are now due.
    fn release_held(&mut self, tried: usize, now: Timestamp) {
        for position in std::mem::take(&mut self.held) {
            let Delivery::Held(at) = self.notifications[position].state else { continue };
            if position == tried
                || self.notifications[position].news.app_id != self.notifications[tried].news.app_id
            {
                self.held.push(position);
                continue;
            }
            self.agenda.remove(&(at, position));
            self.notifications[position].state = Delivery::Due(now);
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

    fn add(outbox: &mut Outbox, app_id: &str, fault: Option<NotificationFault>) -> usize {
        let news = News {
            notify_id: "n".to_owned(),
            app_id: app_id.to_owned(),
            order: 0,
            event: Event::Paid,
            url: "http://shop.example/".to_owned(),
        };
        outbox.add(news, fault, start())
    }

    fn answer(at: Timestamp, status: u16, body: &str) -> Attempt {
        Attempt { at, outcome: Outcome::Answered { status, body: body.to_owned() } }
    }

    #[test]
    fn eight_deliveries_on_the_documented_schedule() {
        for (scale, unit) in [(1, SignedDuration::from_mins(1)), (60, SignedDuration::from_secs(1))] {
            let mut outbox = Outbox::new(scale);
            let position = add(&mut outbox, "a", None);
            let mut waits = Vec::new();
            let mut now = start();
            while let Some(due) = outbox.next_due() {
                assert!(outbox.take_due(due - SignedDuration::from_millis(1), 9).is_empty());
                assert_eq!(outbox.take_due(due, 9), [position]);
                waits.push(due.duration_since(now).as_millis() / unit.as_millis());
                now = due;
                outbox.record(position, answer(now, 200, "fail"), now);
            }
            assert_eq!(waits, [0, 4, 10, 10, 60, 120, 360, 900]);
            assert_eq!(outbox.get(position).state, Delivery::GivenUp);
        }
    }

    #[test]
    fn only_exactly_success_with_200_acknowledges() {
        for (status, body, acknowledged) in [
            (200, "success", true),
            (200, "success\n", false),
            (200, "SUCCESS", false),
            (200, "<html>success</html>", false),
            (201, "success", false),
            (302, "success", false),
            (500, "success", false),
            (200, "", false),
        ] {
            let mut outbox = Outbox::new(1);
            let position = add(&mut outbox, "a", None);
            outbox.take_due(start(), 1);
            outbox.record(position, answer(start(), status, body), start());
            assert_eq!(
                outbox.get(position).state == Delivery::Acknowledged,
                acknowledged,
                "{status} {body:?}"
            );
        }
    }

    #[test]
    fn duplicates_are_sent_although_acknowledged() {
        let mut outbox = Outbox::new(1);
        let position = add(&mut outbox, "a", Some(NotificationFault::Duplicate { copies: 2 }));
        for _ in 0..3 {
            assert_eq!(outbox.take_due(start(), 9), [position]);
            outbox.record(position, answer(start(), 200, "success"), start());
        }
        assert_eq!(outbox.get(position).state, Delivery::Acknowledged);
        assert_eq!(outbox.next_due(), None);
    }

    #[test]
    fn lost_attempts_are_logged_and_retried() {
        let mut outbox = Outbox::new(1);
        let position = add(&mut outbox, "a", Some(NotificationFault::Lose { attempts: Some(1) }));
        assert!(outbox.take_due(start(), 9).is_empty());
        assert!(matches!(outbox.get(position).attempts[0].outcome, Outcome::Lost));
        assert_eq!(outbox.next_due(), Some(start() + SignedDuration::from_mins(4)));

        let lost = add(&mut outbox, "a", Some(NotificationFault::Lose { attempts: None }));
        assert_eq!(outbox.get(lost).state, Delivery::Lost);
        outbox.resend(lost, start());
        assert_eq!(outbox.take_due(start(), 9), [lost]);
    }

    #[test]
    fn a_reordered_notification_waits_for_the_next_one_of_its_app() {
        let mut outbox = Outbox::new(1);
        let first = add(&mut outbox, "a", Some(NotificationFault::Reorder));
        let stranger = add(&mut outbox, "b", None);
        let second = add(&mut outbox, "a", None);
        assert_eq!(outbox.take_due(start(), 9), [stranger, second]);
        outbox.record(stranger, answer(start(), 200, "success"), start());
        assert!(outbox.take_due(start(), 9).is_empty());
        outbox.record(second, answer(start(), 200, "success"), start());
        assert_eq!(outbox.take_due(start(), 9), [first]);
    }

    #[test]
    fn a_reordered_notification_is_not_held_for_ever() {
        let mut outbox = Outbox::new(1);
        let only = add(&mut outbox, "a", Some(NotificationFault::Reorder));
        assert_eq!(outbox.take_due(start() + MAX_HOLD, 9), [only]);
    }
}
