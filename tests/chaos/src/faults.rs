//! Makes the schedule come true.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tael_sandbox::ControlClient;
use tael_sandbox::control::{AddFault, Fault as ChannelFault};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Error;
use crate::caller::Calls;
use crate::forwarder::Forwarder;
use crate::platform::Platform;
use crate::processes::{Environment, Service};
use crate::receiver::Receiver;
use crate::report::millis;
use crate::schedule::{Fault, Mood, Planned, REPLICAS, Trouble};
use crate::sessions;

/// How long the first success after a restart is waited for.
const PATIENCE: Duration = Duration::from_mins(1);

/// Puts faults on and takes them off.
#[derive(Clone, Debug)]
pub struct Injector {
    platform: Arc<Platform>,
    receiver: Receiver,
    payer: ControlClient,
    calls: Arc<Calls>,
    tally: Arc<Mutex<Tally>>,
    /// One crash of a server at a time.
    postgres: Arc<tokio::sync::Mutex<()>>,
    redis: Arc<tokio::sync::Mutex<()>>,
}

/// What was done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Replicas that were killed, by service.
    pub kills: BTreeMap<String, u64>,
    /// Everything else, by name.
    pub others: BTreeMap<String, u64>,
    /// Every restart of PostgreSQL.
    pub postgres_restarts: Vec<Restart>,
    /// Faults that could not be made, because another one was in their way.
    pub failed: Vec<String>,
}

/// A restart of PostgreSQL.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Restart {
    /// Whether every service was killed with it.
    pub power_loss: bool,
    /// From the crash until connections were accepted, in milliseconds.
    pub down_ms: u64,
    /// From then until the first call of a client succeeded, in milliseconds.
    pub first_success_ms: u64,
}

impl Injector {
    /// Makes an injector for a platform and what is around it.
    pub fn new(platform: Arc<Platform>, receiver: Receiver, payer: ControlClient, calls: Arc<Calls>) -> Self {
        Self {
            platform,
            receiver,
            payer,
            calls,
            tally: Arc::default(),
            postgres: Arc::default(),
            redis: Arc::default(),
        }
    }

    /// What was done so far.
    pub fn tally(&self) -> Tally {
        self.lock().clone()
    }

    /// Lets everything of the plan happen at its time, then lifts whatever is left.
    pub async fn run(&self, plan: &[Planned]) -> Result<(), Error> {
        let begin = Instant::now();
        let mut running = JoinSet::new();
        for planned in plan {
            tokio::time::sleep_until(begin + Duration::from_millis(planned.at_ms)).await;
            tracing::info!(fault = ?planned.fault, "fault");
            let (injector, fault) = (self.clone(), planned.fault.clone());
            running.spawn(async move {
                if let Err(error) = injector.inject(&fault).await {
                    tracing::warn!(?fault, %error, "a fault could not be made");
                    injector.lock().failed.push(format!("{}: {error}", fault.name()));
                }
            });
        }
        while running.join_next().await.is_some() {}
        for forwarder in self.platform.forwarders() {
            forwarder.lift();
        }
        self.receiver.set_mood(Mood::Good);
        self.payer.clear_faults(None).await?;
        self.platform.serving().await
    }

    async fn inject(&self, fault: &Fault) -> Result<(), Error> {
        let ms = Duration::from_millis;
        let platform = &self.platform;
        match fault {
            Fault::Kill { service, replica, down_ms } => {
                platform.replica(*service, *replica).kill(ms(*down_ms), Environment::new()).await;
                self.killed(*service);
                // The fault lasts as long as the replica is down.
                tokio::time::sleep(ms(*down_ms)).await;
                return Ok(());
            }
            Fault::Skew { service, replica, seconds, time_ms } => {
                let replica = platform.replica(*service, *replica);
                replica.kill(Duration::ZERO, Platform::skew(*seconds)).await;
                tokio::time::sleep(ms(*time_ms)).await;
                replica.kill(Duration::ZERO, Environment::new()).await;
            }
            Fault::Freeze { service, replica, time_ms } => {
                platform.replica(*service, *replica).freeze(ms(*time_ms));
                tokio::time::sleep(ms(*time_ms)).await;
            }
            Fault::PostgresCrash { down_ms } => self.crash_postgres(ms(*down_ms), false).await?,
            Fault::PowerLoss { down_ms } => self.crash_postgres(ms(*down_ms), true).await?,
            Fault::RedisFlush => platform.servers.flush_redis().await?,
            Fault::RedisCrash { down_ms } => {
                let _one = self.redis.lock().await;
                platform.servers.crash_redis().await?;
                tokio::time::sleep(ms(*down_ms)).await;
                platform.servers.start_redis().await?;
            }
            Fault::RedisHang { time_ms } => {
                let _one = self.redis.lock().await;
                platform.servers.freeze_redis().await?;
                tokio::time::sleep(ms(*time_ms)).await;
                platform.servers.thaw_redis().await?;
            }
            Fault::CutConnections { service } => platform.service(*service).cut_connections(),
            Fault::CutAnswers { service: Service::Gateway, count } => platform.channel().cut_answers(*count),
            Fault::CutAnswers { service, count } => platform.service(*service).cut_answers(*count),
            Fault::CutCommits { service, count } => {
                if let Some(database) = platform.database(*service) {
                    database.cut_answers(*count);
                }
            }
            Fault::Delay { service, by_ms, time_ms } => {
                platform.service(*service).set_delay(ms(*by_ms));
                tokio::time::sleep(ms(*time_ms)).await;
                platform.service(*service).set_delay(Duration::ZERO);
            }
            Fault::BlackHole { service, time_ms } => {
                platform.service(*service).set_hung(true);
                tokio::time::sleep(ms(*time_ms)).await;
                platform.service(*service).set_hung(false);
            }
            Fault::DatabaseBlackHole { service, time_ms } => {
                if let Some(database) = platform.database(*service) {
                    database.set_hung(true);
                    tokio::time::sleep(ms(*time_ms)).await;
                    database.set_hung(false);
                }
            }
            Fault::OpenTransaction { service, time_ms } => {
                let url = platform.database_url(*service);
                sessions::open_transaction(&url, ms(*time_ms)).await?;
            }
            Fault::Locks { service, time_ms } => {
                let url = platform.database_url(*service);
                sessions::lock_rows(*service, &url, ms(*time_ms)).await?;
            }
            Fault::ConnectionsTaken { time_ms } => {
                let url = platform.servers.database_url("postgres");
                let cut = || platform.databases().for_each(Forwarder::cut_connections);
                sessions::take_connections(&url, ms(*time_ms), cut).await?;
            }
            Fault::DiskFull { service, time_ms } => {
                let url = platform.database_url(*service);
                sessions::fill_disk(*service, &url, ms(*time_ms)).await?;
            }
            Fault::Receiver { mood, time_ms } => {
                self.receiver.set_mood(*mood);
                tokio::time::sleep(ms(*time_ms)).await;
                self.receiver.set_mood(Mood::Good);
            }
            Fault::Channel { trouble, times } => {
                for fault in channel_faults(*trouble, *times) {
                    self.payer.add_fault(&fault).await?;
                }
            }
        }
        *self.lock().others.entry(fault.name()).or_default() += 1;
        Ok(())
    }

    async fn crash_postgres(&self, down: Duration, power_loss: bool) -> Result<(), Error> {
        let _one = self.postgres.lock().await;
        let servers = &self.platform.servers;
        let log = self.platform.logs.join("postgres.log");
        let begin = Instant::now();
        if power_loss {
            let ((), crashed) = tokio::join!(self.platform.kill_all(down), servers.crash_postgres(&log));
            crashed?;
            let killed = u64::try_from(Service::ALL.len() * REPLICAS)?;
            *self.lock().others.entry("killed by power loss".to_owned()).or_default() += killed;
        } else {
            servers.crash_postgres(&log).await?;
        }
        tokio::time::sleep(down).await;
        let accepting = servers.start_postgres().await?;
        let success = tokio::time::timeout(PATIENCE, self.calls.first_success_after(accepting));
        let success = success.await.map_err(|_| "nothing succeeds after a restart of PostgreSQL")?;
        self.lock().postgres_restarts.push(Restart {
            power_loss,
            down_ms: millis(accepting.duration_since(begin)),
            first_success_ms: millis(success),
        });
        Ok(())
    }

    fn killed(&self, service: Service) {
        *self.lock().kills.entry(service.to_string()).or_default() += 1;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn channel_faults(trouble: Trouble, times: u32) -> Vec<AddFault> {
    let fault = match trouble {
        Trouble::LostNotifications => ChannelFault::LoseNotification { attempts: Some(4) },
        Trouble::DuplicateNotifications => ChannelFault::DuplicateNotification { copies: 3 },
        Trouble::DelayedNotifications => ChannelFault::DelayNotification { delay_ms: 2500 },
        Trouble::ReorderedNotifications => ChannelFault::ReorderNotification,
        Trouble::DroppedRequests => ChannelFault::DropRequest,
        Trouble::Unavailable => ChannelFault::unavailable(),
        Trouble::SystemError => tael_sandbox::alipay::system_error(),
        Trouble::TimeOutAfterSuccess => ChannelFault::TimeOutAfter { hang_ms: 2500 },
        Trouble::LateAnswers => ChannelFault::DelayAnswer { delay_ms: 1500 },
        Trouble::BadSignatures => ChannelFault::BadAnswerSignature,
        Trouble::PretendedCloses => ChannelFault::PretendClosed,
    };
    let operations = match trouble {
        Trouble::PretendedCloses => vec![Some("alipay.trade.close"), Some("alipay.trade.cancel")],
        _ => vec![None],
    };
    let rule = |operation: Option<&str>| AddFault {
        operation: operation.map(str::to_owned),
        ..AddFault::new(fault.clone()).times(times)
    };
    operations.into_iter().map(rule).collect()
}
