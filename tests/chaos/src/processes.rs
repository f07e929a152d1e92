//! The services' processes: started, killed, frozen, and started again, each replica watched over by a task of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::Error;

/// The exit code of a service that could not start, for example because its database does not answer.
const COULD_NOT_START: i32 = 3;
/// How long after it ended by itself a process is started again.
const RESTART_PAUSE: Duration = Duration::from_millis(500);
/// Where processes listen.
const FIRST_PORT: u16 = 10_000;
const LAST_PORT: u16 = 19_999;
/// How long a process has to end, as Kubernetes gives it by default.
const GRACE: Duration = Duration::from_secs(30);
/// How long a process may take until it serves.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// A service of which there are several replicas. The sandbox is the outside world and has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Service {
    /// Merchants.
    Merchant,
    /// Orders.
    Order,
    /// Payments.
    Payment,
    /// Refunds.
    Refund,
    /// The ledger.
    Settlement,
    /// Webhooks.
    Notification,
    /// The money audit.
    Audit,
    /// The HTTP edge.
    Gateway,
}

impl Service {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Merchant,
        Self::Order,
        Self::Payment,
        Self::Refund,
        Self::Settlement,
        Self::Notification,
        Self::Audit,
        Self::Gateway,
    ];
    /// Those with a database.
    pub const WITH_DATABASE: [Self; 7] = [
        Self::Merchant,
        Self::Order,
        Self::Payment,
        Self::Refund,
        Self::Settlement,
        Self::Notification,
        Self::Audit,
    ];

    /// The name, as in the binary's.
    pub fn name(self) -> &'static str {
        match self {
            Self::Merchant => "merchant",
            Self::Order => "order",
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Settlement => "settlement",
            Self::Notification => "notification",
            Self::Audit => "audit",
            Self::Gateway => "gateway",
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a process is run with.
pub type Environment = BTreeMap<String, String>;

/// A process that is started again whenever it ends.
#[derive(Debug)]
pub struct Process {
    /// Where it listens.
    pub addr: SocketAddr,
    orders: mpsc::UnboundedSender<Order>,
    exits: Arc<Mutex<Vec<String>>>,
}

/// What the task of a process is told.
#[derive(Debug)]
enum Order {
    /// SIGKILL, and start again after `down` with `extra` in the environment beside what it always has, until it ends.
    Kill { down: Duration, extra: Environment, done: oneshot::Sender<()> },
    /// SIGSTOP, and SIGCONT after a time.
    Freeze { time: Duration },
    /// SIGTERM, and no new start.
    Drain { done: oneshot::Sender<std::io::Result<ExitStatus>> },
}

impl Process {
    /// Starts `program`, whose output goes to `log`, with `environment`; it listens at `addr`.
    pub fn start(
        program: &Path,
        log: &Path,
        addr: SocketAddr,
        environment: Environment,
    ) -> Result<Self, Error> {
        let (orders, inbox) = mpsc::unbounded_channel();
        let exits: Arc<Mutex<Vec<String>>> = Arc::default();
        let keeper = Keeper {
            program: program.to_owned(),
            log: log.to_owned(),
            environment,
            inbox,
            exits: exits.clone(),
        };
        let first = keeper.spawn(&Environment::new())?;
        tokio::spawn(keeper.run(first));
        Ok(Self { addr, orders, exits })
    }

    /// SIGKILL. Returns when the process is gone; it is started again after `down`.
    pub async fn kill(&self, down: Duration, extra: Environment) {
        let (done, gone) = oneshot::channel();
        let _ = self.orders.send(Order::Kill { down, extra, done });
        let _ = gone.await;
    }

    /// SIGSTOP, and SIGCONT after `time`.
    pub fn freeze(&self, time: Duration) {
        let _ = self.orders.send(Order::Freeze { time });
    }

    /// SIGTERM, as an orchestrator ends a process. Returns when it has ended, in good order and in time, for good.
    pub async fn drain(self) -> Result<(), Error> {
        let (done, ended) = oneshot::channel();
        let _ = self.orders.send(Order::Drain { done });
        let status = tokio::time::timeout(GRACE, ended)
            .await
            .map_err(|_| format!("the process at {} does not end", self.addr))???;
        if status.success() { Ok(()) } else { Err(format!("ended with {status}, not in good order").into()) }
    }

    /// How it ended by itself when it should not have: one line each.
    pub fn exits(&self) -> Vec<String> {
        self.exits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it accepts connections.
    pub async fn serving(&self) -> Result<(), Error> {
        let begin = Instant::now();
        while TcpStream::connect(self.addr).await.is_err() {
            if begin.elapsed() > START_PATIENCE {
                return Err(format!("nobody listens at {}: see the logs", self.addr).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// The task that keeps a process running.
struct Keeper {
    program: PathBuf,
    log: PathBuf,
    environment: Environment,
    inbox: mpsc::UnboundedReceiver<Order>,
    exits: Arc<Mutex<Vec<String>>>,
}

impl Keeper {
    fn spawn(&self, extra: &Environment) -> Result<Child, Error> {
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        writeln!(log, "--- start {extra:?}")?;
        let errors: File = log.try_clone()?;
        Command::new(&self.program)
            .env_clear()
            .envs(&self.environment)
            .envs(extra)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| format!("{}: {e}; was it built?", self.program.display()).into())
    }

    /// Ends when the [`Process`] is dropped, and its child with it.
    async fn run(mut self, first: Child) {
        let mut child = first;
        loop {
            let extra = tokio::select! {
                status = child.wait() => {
                    self.note(status);
                    tokio::time::sleep(RESTART_PAUSE).await;
                    Environment::new()
                }
                order = self.inbox.recv() => match order {
                    None => return,
                    Some(Order::Kill { down, extra, done }) => {
                        let _ = child.kill().await;
                        let _ = done.send(());
                        tokio::time::sleep(down).await;
                        extra
                    }
                    Some(Order::Drain { done }) => {
                        signal(&child, Signal::TERM);
                        let _ = done.send(child.wait().await);
                        return;
                    }
                    Some(Order::Freeze { time }) => {
                        signal(&child, Signal::STOP);
                        tokio::time::sleep(time).await;
                        signal(&child, Signal::CONT);
                        continue;
                    }
                },
            };
            match self.spawn(&extra) {
                Ok(next) => child = next,
                Err(error) => {
                    self.say(error.to_string());
                    return;
                }
            }
        }
    }

    fn note(&self, status: std::io::Result<ExitStatus>) {
        match status {
            Ok(status) if status.code() == Some(COULD_NOT_START) => {
                tracing::info!(log = %self.log.display(), "a process could not start; it is tried again");
            }
            Ok(status) => self.say(format!("ended by itself: {status}; see {}", self.log.display())),
            Err(error) => self.say(format!("can't be waited for: {error}; see {}", self.log.display())),
        }
    }

    fn say(&self, line: String) {
        tracing::error!(line, "a process ended by itself");
        self.exits.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended in between: then it is noted by `wait`.
        let _ = kill_process(pid, signal);
    }
}

/// Ports that stay free for processes that come and go: below those that systems give to outgoing connections, each
/// given once.
pub fn free_addresses(count: usize) -> Result<Vec<SocketAddr>, Error> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Programs that run at once begin at different places, also when they were started one after the other.
    let first = FIRST_PORT + u16::try_from(std::process::id().wrapping_mul(127) % 8_000)?;
    let mut addresses = Vec::new();
    while addresses.len() < count {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if port > LAST_PORT {
            return Err(format!("no free ports up to {LAST_PORT}").into());
        }
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(addr).is_ok() {
            addresses.push(addr);
        }
    }
    Ok(addresses)
}
