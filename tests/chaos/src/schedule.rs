//! What goes wrong when: all of it decided by the seed, before the run begins.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde::Serialize;

use crate::processes::Service;

/// How many replicas each service has.
pub const REPLICAS: usize = 2;
/// Single kills per minute, before what `minimum_kills` asks for.
const KILLS_PER_MINUTE: u64 = 24;
/// Other faults per minute.
const OTHERS_PER_MINUTE: u64 = 45;
/// About how often PostgreSQL crashes, and all of the machine.
const CRASH_EVERY: Duration = Duration::from_secs(25);
const POWER_LOSS_EVERY: Duration = Duration::from_secs(55);
/// Through which forwarders money passes: the channel's stands in for the gateway, and has no database.
const WORTH_CUTTING: [Service; 6] = [
    Service::Gateway,
    Service::Order,
    Service::Payment,
    Service::Refund,
    Service::Settlement,
    Service::Notification,
];
/// How long a killed replica takes to serve again, apart from how long it stays down.
const START: Duration = Duration::from_millis(1500);

/// A fault, and when it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// How long after the beginning of the run, in milliseconds.
    pub at_ms: u64,
    /// What goes wrong.
    pub fault: Fault,
}

/// What goes wrong. Times are milliseconds; `service` and `replica` say to whom it happens.
#[expect(missing_docs, reason = "each variant says what its fields are for")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Fault {
    /// SIGKILL of a replica, started again after `down_ms`.
    Kill { service: Service, replica: usize, down_ms: u64 },
    /// SIGKILL of a replica, which comes back with a clock that is wrong, and is killed again afterwards.
    Skew { service: Service, replica: usize, seconds: i64, time_ms: u64 },
    /// SIGSTOP and SIGCONT of a replica.
    Freeze { service: Service, replica: usize, time_ms: u64 },
    /// Immediate stop of PostgreSQL, and its start.
    PostgresCrash { down_ms: u64 },
    /// SIGKILL of every service and immediate stop of PostgreSQL at one instant.
    PowerLoss { down_ms: u64 },
    /// Redis is emptied.
    RedisFlush,
    /// SIGKILL of Redis.
    RedisCrash { down_ms: u64 },
    /// Redis accepts connections and answers nothing.
    RedisHang { time_ms: u64 },
    /// Every connection to a service is cut.
    CutConnections { service: Service },
    /// Answers of a service are cut off after their requests were forwarded.
    CutAnswers { service: Service, count: usize },
    /// Answers of PostgreSQL to a service's COMMITs are cut off.
    CutCommits { service: Service, count: usize },
    /// Everything to and from a service takes longer.
    Delay { service: Service, by_ms: u64, time_ms: u64 },
    /// Nothing passes to or from a service.
    BlackHole { service: Service, time_ms: u64 },
    /// Nothing passes between a service and its database.
    DatabaseBlackHole { service: Service, time_ms: u64 },
    /// A transaction stays open on a service's database.
    OpenTransaction { service: Service, time_ms: u64 },
    /// A session locks hot rows against the usual order.
    Locks { service: Service, time_ms: u64 },
    /// Idle sessions take all connections of PostgreSQL, and the services lose theirs.
    ConnectionsTaken { time_ms: u64 },
    /// The disk under a service's database is full: nothing can be written.
    DiskFull { service: Service, time_ms: u64 },
    /// The merchant's webhook receiver behaves badly.
    Receiver { mood: Mood, time_ms: u64 },
    /// Something goes wrong at the channel.
    Channel { trouble: Trouble, times: u32 },
}

/// How the webhook receiver behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mood {
    /// It takes what is signed.
    #[default]
    Good,
    /// It refuses everything.
    Refusing,
    /// It never answers.
    Hanging,
    /// Its answers have no end.
    Endless,
}

/// What goes wrong at the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// Notifications do not arrive the first few times.
    LostNotifications,
    /// Notifications arrive several times.
    DuplicateNotifications,
    /// Notifications arrive late.
    DelayedNotifications,
    /// Notifications overtake one another.
    ReorderedNotifications,
    /// Connections are closed without doing anything.
    DroppedRequests,
    /// The call is refused as "service unavailable" without doing anything.
    Unavailable,
    /// The call is refused as "system error" without doing anything, which that code does not say.
    SystemError,
    /// The call is done, and never answered.
    TimeOutAfterSuccess,
    /// The call is done, and answered late.
    LateAnswers,
    /// The call is done, and its answer's signature is wrong.
    BadSignatures,
    /// A close or cancel is answered as done and nothing is done: the payer can still pay.
    PretendedCloses,
}

impl Trouble {
    const ALL: [Self; 11] = [
        Self::LostNotifications,
        Self::DuplicateNotifications,
        Self::DelayedNotifications,
        Self::ReorderedNotifications,
        Self::DroppedRequests,
        Self::Unavailable,
        Self::SystemError,
        Self::TimeOutAfterSuccess,
        Self::LateAnswers,
        Self::BadSignatures,
        Self::PretendedCloses,
    ];
}

impl Fault {
    /// How long it lasts, as far as the schedule can know.
    pub fn time(&self) -> Duration {
        let ms = match self {
            Self::Kill { down_ms, .. } => *down_ms,
            Self::PostgresCrash { down_ms } | Self::PowerLoss { down_ms } | Self::RedisCrash { down_ms } => {
                *down_ms
            }
            Self::Skew { time_ms, .. }
            | Self::Freeze { time_ms, .. }
            | Self::RedisHang { time_ms }
            | Self::Delay { time_ms, .. }
            | Self::BlackHole { time_ms, .. }
            | Self::DatabaseBlackHole { time_ms, .. }
            | Self::OpenTransaction { time_ms, .. }
            | Self::Locks { time_ms, .. }
            | Self::ConnectionsTaken { time_ms }
            | Self::DiskFull { time_ms, .. }
            | Self::Receiver { time_ms, .. } => *time_ms,
            Self::RedisFlush
            | Self::CutConnections { .. }
            | Self::CutAnswers { .. }
            | Self::CutCommits { .. }
            | Self::Channel { .. } => 0,
        };
        Duration::from_millis(ms)
    }

    /// Its name in reports.
    pub fn name(&self) -> String {
        match self {
            Self::Kill { service, .. } => format!("kill {service}"),
            Self::Skew { .. } => "wrong clock".to_owned(),
            Self::Freeze { .. } => "frozen replica".to_owned(),
            Self::PostgresCrash { .. } => "PostgreSQL crash".to_owned(),
            Self::PowerLoss { .. } => "power loss".to_owned(),
            Self::RedisFlush => "Redis flush".to_owned(),
            Self::RedisCrash { .. } => "Redis crash".to_owned(),
            Self::RedisHang { .. } => "Redis hang".to_owned(),
            Self::CutConnections { .. } => "connections cut".to_owned(),
            Self::CutAnswers { .. } => "answers cut off".to_owned(),
            Self::CutCommits { .. } => "answers to COMMIT cut off".to_owned(),
            Self::Delay { .. } => "slow network".to_owned(),
            Self::BlackHole { .. } => "black hole before a service".to_owned(),
            Self::DatabaseBlackHole { .. } => "black hole before a database".to_owned(),
            Self::OpenTransaction { .. } => "transaction left open".to_owned(),
            Self::Locks { .. } => "rows locked".to_owned(),
            Self::ConnectionsTaken { .. } => "PostgreSQL out of connections".to_owned(),
            Self::DiskFull { .. } => "disk full".to_owned(),
            Self::Receiver { mood, .. } => format!("webhook receiver {mood:?}").to_lowercase(),
            Self::Channel { trouble, .. } => format!("channel {trouble:?}"),
        }
    }
}

/// The faults of a run of so many seconds, in the order of their beginning. All have ended when the time is over.
pub fn plan(seed: u64, seconds: u64, minimum_kills: u64) -> Vec<Planned> {
    let mut rng = StdRng::seed_from_u64(seed);
    let time = Duration::from_secs(seconds);
    let mut plan = Vec::new();

    // A few more than asked for: a kill that meets a replica which is down anyway counts for nothing.
    let kills = (seconds * KILLS_PER_MINUTE / 60).max(minimum_kills + minimum_kills / 4 + 1);
    let mut up_from = [[Duration::ZERO; REPLICAS]; Service::ALL.len()];
    for at in spread(&mut rng, time, kills) {
        let up: Vec<(usize, usize)> = (0..Service::ALL.len())
            .flat_map(|service| (0..REPLICAS).map(move |replica| (service, replica)))
            .filter(|(service, replica)| up_from[*service][*replica] <= at)
            .collect();
        let Some(&(service, replica)) = up.choose(&mut rng) else { continue };
        let down = millis(&mut rng, 0, 3000);
        up_from[service][replica] = at + down + START;
        let service = Service::ALL[service];
        let fault = Fault::Kill { service, replica, down_ms: ms(down) };
        plan.push(Planned { at_ms: ms(at), fault });
    }
    for at in every(&mut rng, time, CRASH_EVERY) {
        let down_ms = ms(millis(&mut rng, 0, 1500));
        plan.push(Planned { at_ms: ms(at), fault: Fault::PostgresCrash { down_ms } });
    }
    for at in every(&mut rng, time, POWER_LOSS_EVERY) {
        let down_ms = ms(millis(&mut rng, 0, 1000));
        plan.push(Planned { at_ms: ms(at), fault: Fault::PowerLoss { down_ms } });
    }
    for at in spread(&mut rng, time, seconds * OTHERS_PER_MINUTE / 60) {
        plan.push(Planned { at_ms: ms(at), fault: other(&mut rng) });
    }

    plan.retain(|planned| Duration::from_millis(planned.at_ms) + planned.fault.time() <= time);
    plan.sort_by_key(|planned| planned.at_ms);
    plan
}

/// All replicas of a service are down, from the first second to the last.
pub fn outage(service: Service, seconds: u64) -> Vec<Planned> {
    let fault = |replica| Fault::Kill { service, replica, down_ms: seconds * 1000 };
    (0..REPLICAS).map(|replica| Planned { at_ms: 0, fault: fault(replica) }).collect()
}

/// `count` moments, one somewhere in each of as many equal parts of the time.
fn spread(rng: &mut StdRng, time: Duration, count: u64) -> Vec<Duration> {
    let part = ms(time) / count.max(1);
    (0..count).map(|index| Duration::from_millis(index * part + rng.random_range(0..part.max(1)))).collect()
}

/// One moment in each interval; at least one.
fn every(rng: &mut StdRng, time: Duration, interval: Duration) -> Vec<Duration> {
    let count = (ms(time) / ms(interval)).max(1);
    // Not in the very first and last moments, so that there is load before and after.
    spread(rng, time * 8 / 10, count).into_iter().map(|at| at + time / 10).collect()
}

fn other(rng: &mut StdRng) -> Fault {
    let service = *pick(rng, &Service::ALL);
    let with_database = *pick(rng, &Service::WITH_DATABASE);
    let replica = rng.random_range(0..REPLICAS);
    match rng.random_range(0..100) {
        0..6 => Fault::Freeze { service, replica, time_ms: ms(millis(rng, 500, 6000)) },
        6..10 => Fault::Skew {
            service: with_database,
            replica,
            seconds: *pick(rng, &[3600, -3600]),
            time_ms: ms(millis(rng, 5000, 15_000)),
        },
        10..14 => Fault::RedisFlush,
        14..17 => Fault::RedisCrash { down_ms: ms(millis(rng, 0, 4000)) },
        17..20 => Fault::RedisHang { time_ms: ms(millis(rng, 500, 4000)) },
        20..24 => Fault::CutConnections { service },
        24..34 => Fault::CutAnswers { service: *pick(rng, &WORTH_CUTTING), count: rng.random_range(1..=5) },
        34..44 => {
            Fault::CutCommits { service: *pick(rng, &WORTH_CUTTING[1..]), count: rng.random_range(1..=5) }
        }
        44..48 => {
            Fault::Delay { service, by_ms: ms(millis(rng, 20, 400)), time_ms: ms(millis(rng, 1000, 5000)) }
        }
        48..51 => Fault::BlackHole { service, time_ms: ms(millis(rng, 500, 4000)) },
        51..54 => Fault::DatabaseBlackHole { service: with_database, time_ms: ms(millis(rng, 500, 4000)) },
        54..58 => Fault::OpenTransaction { service: with_database, time_ms: ms(millis(rng, 1000, 6000)) },
        58..63 => Fault::Locks { service: with_database, time_ms: ms(millis(rng, 300, 2500)) },
        63..65 => Fault::ConnectionsTaken { time_ms: ms(millis(rng, 500, 3000)) },
        65..68 => Fault::DiskFull { service: with_database, time_ms: ms(millis(rng, 500, 4000)) },
        68..73 => Fault::Receiver {
            mood: *pick(rng, &[Mood::Refusing, Mood::Hanging, Mood::Endless]),
            time_ms: ms(millis(rng, 1000, 6000)),
        },
        _ => Fault::Channel { trouble: *pick(rng, &Trouble::ALL), times: rng.random_range(1..=8) },
    }
}

fn pick<'a, T>(rng: &mut StdRng, from: &'a [T]) -> &'a T {
    from.choose(rng).expect("there is something to choose from")
}

fn millis(rng: &mut StdRng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.random_range(from..=to))
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kills(plan: &[Planned]) -> u64 {
        let kills = plan.iter().filter(|planned| matches!(planned.fault, Fault::Kill { .. })).count();
        u64::try_from(kills).unwrap()
    }

    #[test]
    fn a_seed_is_a_schedule() {
        assert_eq!(plan(7, 120, 20), plan(7, 120, 20));
        assert_ne!(plan(7, 120, 20), plan(8, 120, 20));
    }

    #[test]
    fn there_are_enough_kills_and_all_faults_end_in_time() {
        for seed in 0..50 {
            for (seconds, minimum) in [(60, 20), (600, 100), (20, 20)] {
                let plan = plan(seed, seconds, minimum);
                assert!(kills(&plan) >= minimum, "{} of {minimum} in {seconds} s", kills(&plan));
                for planned in &plan {
                    assert!(planned.at_ms + ms(planned.fault.time()) <= seconds * 1000, "{planned:?}");
                }
                assert!(plan.is_sorted_by_key(|planned| planned.at_ms));
                assert!(plan.iter().any(|p| matches!(p.fault, Fault::PostgresCrash { .. })), "seed {seed}");
            }
        }
    }

    #[test]
    fn ten_minutes_hold_every_kind_of_fault() {
        let plan = plan(1, 600, 100);
        let names: std::collections::BTreeSet<String> = plan.iter().map(|p| p.fault.name()).collect();
        // 8 services to be killed, 17 kinds of their own, 3 moods of the receiver, 11 troubles of the channel.
        assert_eq!(names.len(), 8 + 17 + 3 + 11, "{names:#?}");
    }
}
