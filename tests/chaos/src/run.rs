//! A run, from the first process to the verdict.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::Error;
use crate::audit::audit;
use crate::caller::{Caller, Calls};
use crate::faults::Injector;
use crate::load::{Book, Kind, Load};
use crate::platform::{Platform, Reach, Setup};
use crate::processes::{Environment, Service};
use crate::receiver::Receiver;
use crate::report::{Report, millis};
use crate::schedule;
use crate::servers::Servers;
use crate::shop::Shop;
use crate::verdict::{self, Verdict};

/// How many events all consumers together may be behind under load without having a backlog: a consumer says how far it
/// has come about once a second, and there are about a dozen.
const HARDLY_BEHIND: u64 = 1000;
/// How many merchants sell.
const SHOPS: usize = 4;
/// How many journeys are played before anything goes wrong.
const WARM_UP: u64 = 16;
/// How long they may take.
const WARM_UP_PATIENCE: Duration = Duration::from_mins(1);
/// How long everything may take to settle after the last fault.
const SETTLE: Duration = Duration::from_mins(5);
/// How long what is wrong, while nothing moves any more, may still be only late.
const LATE: Duration = Duration::from_secs(45);

/// How a run is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the schedule and the journeys are made from.
    pub seed: u64,
    /// For how many seconds things go wrong.
    pub seconds: u64,
    /// How many replicas must be killed at least.
    pub minimum_kills: u64,
    /// How many clients play journeys at once.
    pub clients: usize,
    /// The service whose outage is all that goes wrong.
    pub outage: Option<Service>,
    /// Where the services' binaries are.
    pub binaries: PathBuf,
    /// Where `scripts/local.sh with` has started the servers.
    pub servers: PathBuf,
    /// Where logs and the book go.
    pub folder: PathBuf,
}

/// Makes a run and reports on it. An error means that there was no run to report on.
pub async fn run(options: &Options) -> Result<Report, Error> {
    let plan = match options.outage {
        Some(service) => schedule::outage(service, options.seconds),
        None => schedule::plan(options.seed, options.seconds, options.minimum_kills),
    };
    std::fs::write(options.folder.join("schedule.json"), serde_json::to_vec_pretty(&plan)?)?;

    let servers = Servers::at(&options.servers)?;
    servers.recover_quickly().await?;
    let platform = Arc::new(
        Platform::start(Setup {
            servers,
            binaries: &options.binaries,
            logs: &options.folder,
            prefix: "chaos",
            replicas: schedule::REPLICAS,
            reach: Reach::Forwarded,
            environment: Environment::new(),
        })
        .await?,
    );
    let receiver = Receiver::start().await?;
    let calls: Arc<Calls> = Arc::default();
    let caller = Caller::connect(&platform.addresses, &calls)?;
    let mut shops = Vec::new();
    for number in 0..SHOPS {
        let run = format!("chaos-{}", options.seed);
        shops.push(Shop::open(&caller, &receiver, &run, platform.channel().addr, number).await?);
    }
    let shops = Arc::new(shops);
    let book: Arc<Book> = Arc::default();

    let load = |clients, numbers| {
        Load::start(&platform.addresses, &calls, &shops, &book, options.seed, clients, numbers)
    };
    println!("warming up with {WARM_UP} journeys");
    let warm_up = load(options.clients.min(8), 0..WARM_UP)?;
    warmed_up(&book).await?;

    platform.servers.checkpoint().await?;

    println!("{} faults within {} s", plan.len(), options.seconds);
    let load = load(options.clients, WARM_UP..u64::MAX)?;
    let injector = Injector::new(platform.clone(), receiver.clone(), caller.payer.clone(), calls.clone());
    injector.run(&plan).await?;
    // As long as clients go on there is always a little to read; what matters is that the backlog is gone.
    let after_outage = match options.outage {
        Some(_) => Some(caught_up(caller.clone(), HARDLY_BEHIND).await),
        None => None,
    };
    load.stop();

    println!("all faults are lifted; waiting for everything to settle");
    let lifted = Instant::now();
    calls.give_up_from(lifted + SETTLE);
    let caught_up = tokio::spawn(caught_up(caller.clone(), 0));
    let verdict = settle(&caller, &shops, &book, &receiver, lifted).await?;
    let settled = lifted.elapsed();
    let consumers_caught_up = caught_up.await?;
    drop((warm_up, load));

    let entries = book.entries();
    std::fs::write(options.folder.join("book.json"), serde_json::to_vec_pretty(&entries)?)?;
    let mut report = Report::new(options, &entries, &calls.counts(), injector.tally(), verdict, settled);
    report.violations.extend(book.findings());
    report.violations.extend(platform.exits());
    if receiver.refused() > 0 {
        report.violations.push(format!("{} webhooks had a wrong signature", receiver.refused()));
    }
    report.consumers_caught_up_ms = consumers_caught_up.map(millis);
    if let Some(took) = after_outage {
        report.back_after_outage(took);
    }
    // Only of something that stands still: its disagreements are final then.
    match audit(caller.money_audit()).await {
        Ok(Some(audit)) => report.audited(audit),
        Ok(None) => {}
        Err(error) => report.violations.push(error.to_string()),
    }
    report.answers_cut = platform.forwarders().map(crate::forwarder::Forwarder::answers_cut).sum();
    Ok(report)
}

/// Waits until consumers are no more than so many events behind, and returns how long that took; `None` when it did not
/// happen.
async fn caught_up(caller: Caller, at_most: u64) -> Option<Duration> {
    let begin = Instant::now();
    while begin.elapsed() < SETTLE {
        match verdict::events_behind(&caller).await {
            Ok(behind) if behind <= at_most => return Some(begin.elapsed()),
            Ok(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            Err(_) => return None,
        }
    }
    None
}

/// Waits until the first journeys have ended, but for those that wait for their orders to expire.
async fn warmed_up(book: &Book) -> Result<(), Error> {
    let begin = Instant::now();
    loop {
        let entries = book.entries();
        let ended = entries.iter().filter(|entry| entry.ended || entry.plan.kind == Kind::Expire).count();
        if u64::try_from(ended)? == WARM_UP {
            return Ok(());
        }
        if let Some(finding) = book.findings().first() {
            return Err(format!("before any fault: {finding}").into());
        }
        if begin.elapsed() > WARM_UP_PATIENCE {
            let at: Vec<_> = entries.iter().map(|entry| entry.step).collect();
            return Err(format!("before any fault, journeys do not end: they are at {at:?}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until nothing moves and nothing is wrong, as long as there is hope. The moment is that of the last fault.
pub async fn settle(
    caller: &Caller,
    shops: &[Shop],
    book: &Book,
    receiver: &Receiver,
    lifted: Instant,
) -> Result<Verdict, Error> {
    let mut since: Option<(Vec<String>, Instant)> = None;
    loop {
        while lifted.elapsed() < SETTLE && book.entries().iter().any(|entry| !entry.ended) {
            if book.findings().len() > 20 {
                break; // hopeless; what was found is told
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        let verdict = Verdict::look(caller, shops, book, receiver).await?;
        if verdict.is_clean() || lifted.elapsed() >= SETTLE {
            return Ok(verdict);
        }
        if verdict.unsettled.is_empty() {
            match &since {
                Some((violations, begin)) if *violations == verdict.violations => {
                    if begin.elapsed() > LATE {
                        return Ok(verdict);
                    }
                }
                _ => since = Some((verdict.violations.clone(), Instant::now())),
            }
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
