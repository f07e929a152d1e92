//! `tael bench`: full journeys in a closed loop, and whether the money adds up afterwards.

mod journey;
mod result;
mod sink;
mod tracing_cost;

use std::fmt::{self, Display};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use journey::{Step, Timings};
use result::Outcome;
use tael_proto::settlement::v1::CheckLedgerRequest;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Error;
use crate::clients::Clients;
use crate::platform::Addresses;
use crate::shop::Shop;

/// How the load is made.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// How many clients play journeys at once, each beginning the next when one has ended.
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// For how many seconds new journeys are begun.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Over how many merchants the journeys are spread. One makes the merchant's balances as hot as can be.
    #[arg(long, default_value_t = 4)]
    merchants: usize,
    /// Every so-manieth journey ends with a refund of one line; 0 for none.
    #[arg(long, default_value_t = 4)]
    refund_every: u64,
    /// Write the ids of its merchants into this file, one a line: for an audit of what the load did.
    #[arg(long, value_name = "FILE", conflicts_with = "compare_tracing")]
    merchants_to: Option<PathBuf>,
    /// Print one JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Instead of one run, so many rounds of two platforms beside each other, one of which observes nothing: against it
    /// tracing off, and tracing on; prints their ratios.
    #[arg(long, value_name = "ROUNDS", conflicts_with_all = ["json", "merchant"])]
    compare_tracing: Option<usize>,
    /// Use other databases than another bench that runs meanwhile.
    #[arg(long, hide = true, conflicts_with = "merchant")]
    beside: bool,
    /// A running platform's addresses, all eight, instead of starting one. With Docker or Kubernetes: port-forwards.
    #[command(flatten)]
    running: RunningAt,
}

#[derive(clap::Args, Clone, Debug)]
#[group(required = false, multiple = true)]
struct RunningAt {
    /// The merchant service.
    #[arg(long, value_name = "HOST:PORT", requires_all = ["order", "payment", "refund", "settlement", "notification", "audit", "gateway", "sandbox"])]
    merchant: Option<HostPort>,
    /// The order service.
    #[arg(long, requires = "merchant", value_name = "HOST:PORT")]
    order: Option<HostPort>,
    /// The payment service.
    #[arg(long, requires = "merchant", value_name = "HOST:PORT")]
    payment: Option<HostPort>,
    /// The refund service.
    #[arg(long, requires = "merchant", value_name = "HOST:PORT")]
    refund: Option<HostPort>,
    /// The settlement service.
    #[arg(long, requires = "merchant", value_name = "HOST:PORT")]
    settlement: Option<HostPort>,
    /// The notification service.
    #[arg(long, requires = "merchant", value_name = "HOST:PORT")]
    notification: Option<HostPort>,
    /// The audit service.
    #[arg(long, requires = "merchant", value_name = "HOST:PORT")]
    audit: Option<HostPort>,
    /// The gateway.
    #[arg(long, requires = "merchant", value_name = "HOST:PORT")]
    gateway: Option<HostPort>,
    /// The sandbox.
    #[arg(long, requires = "merchant", value_name = "HOST:PORT")]
    sandbox: Option<HostPort>,
}

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HostPort(String);

impl FromStr for HostPort {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (host, port) = text.rsplit_once(':').ok_or("no port; wanted is host:port")?;
        if host.is_empty() || host.contains(['/', '@']) || (host.contains(':') && !host.starts_with('[')) {
            return Err("no host; wanted is host:port");
        }
        port.parse::<u16>().map_err(|_| "the port is no number up to 65535; wanted is host:port")?;
        Ok(Self(text.to_owned()))
    }
}

impl Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Options {
    /// Whether the platform runs already.
    pub fn is_against_running(&self) -> bool {
        self.running.merchant.is_some()
    }

    /// In how many rounds the costs of tracing are to be compared, if at all.
    pub fn rounds_of_tracing(&self) -> Option<usize> {
        self.compare_tracing
    }

    /// What the names of the databases of a platform of its own begin with.
    pub fn prefix(&self) -> &'static str {
        if self.beside { "tael_bench_beside" } else { "tael_bench" }
    }

    fn running_addresses(&self) -> Option<Addresses<HostPort>> {
        let at = self.running.clone();
        Some(Addresses {
            merchant: at.merchant?,
            order: at.order?,
            payment: at.payment?,
            refund: at.refund?,
            settlement: at.settlement?,
            notification: at.notification?,
            audit: at.audit?,
            gateway: at.gateway?,
            sandbox: at.sandbox?,
        })
    }
}

/// Compares what tracing costs and says whether all runs passed.
pub async fn compare_tracing(options: &Options, rounds: usize) -> Result<bool, Error> {
    tracing_cost::compare(options, rounds).await
}

/// Loads the platform, prints what was measured and says whether no call failed and all money adds up.
pub async fn run(options: &Options, started: Option<&Addresses>) -> Result<bool, Error> {
    match (started, options.running_addresses()) {
        (Some(addresses), _) => load(options, addresses).await,
        (None, Some(addresses)) => load(options, &addresses).await,
        (None, None) => Err("no platform to load".into()),
    }
}

async fn load<A: Display>(options: &Options, addresses: &Addresses<A>) -> Result<bool, Error> {
    let mut clients = Clients::connect(addresses)?;
    let mut shops = Vec::new();
    for number in 0..options.merchants.max(1) {
        shops.push(Shop::open(&mut clients, &format!("bench {number}")).await?);
    }
    if let Some(file) = &options.merchants_to {
        let ids = shops.iter().map(|shop| shop.id() + "\n").collect::<String>();
        std::fs::write(file, ids).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let before = postings(&mut clients).await?;

    let processor_time = processor_time_ms()?;
    let begin = Instant::now();
    let end = begin + Duration::from_secs(options.seconds);
    let journeys = Arc::new(AtomicU64::new(0));
    let mut loops = JoinSet::new();
    for client in 0..options.clients.max(1) {
        let shop = shops[client % shops.len()].clone();
        // Connections of its own, as a separate caller would have.
        let clients = Clients::connect(addresses)?;
        let (journeys, refund_every) = (journeys.clone(), options.refund_every);
        loops.spawn(async move {
            let mut timings = Timings::default();
            while Instant::now() < end {
                let number = journeys.fetch_add(1, Ordering::Relaxed) + 1;
                let refund = refund_every > 0 && number % refund_every == 0;
                timings.play(&clients, &shop, refund).await;
            }
            timings
        });
    }
    let mut timings = Timings::default();
    while let Some(ended) = loops.join_next().await {
        timings.add(&ended?);
    }
    let took = begin.elapsed();
    let processor_time = processor_time_ms()?.saturating_sub(processor_time);

    let posted_in = wait_for_postings(&mut clients, before, &timings).await?;
    let outcome = Outcome::collect(&mut clients, &shops, timings, took, processor_time, posted_in).await?;
    if options.json {
        crate::say!("{}", serde_json::to_string_pretty(&outcome.to_json(options.clients, shops.len()))?);
    } else {
        outcome.print(options.clients, shops.len());
    }
    Ok(outcome.passed())
}

/// The processor time of this process so far, in milliseconds: fields 14 and 15 of `/proc/self/stat` (proc(5)), in ticks
/// of 10 ms.
fn processor_time_ms() -> Result<u64, Error> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name in parentheses, which may contain spaces.
    let (_, fields) = stat.rsplit_once(')').ok_or("/proc/self/stat has no name")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks * 10)
}

async fn postings(clients: &mut Clients) -> Result<u64, Error> {
    Ok(clients.ledger.check_ledger(CheckLedgerRequest {}).await?.into_inner().transfer_count)
}

/// Waits until the ledger has what the journeys moved: how long that takes after the load shows whether it keeps up.
async fn wait_for_postings(
    clients: &mut Clients,
    before: u64,
    timings: &Timings,
) -> Result<Option<Duration>, Error> {
    let expected = before + timings.count(Step::Paid) + timings.count(Step::Refund);
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_mins(1) {
        if postings(clients).await? >= expected {
            return Ok(Some(begin.elapsed()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_given_by_name_or_address() {
        for good in ["merchant.tael:50051", "localhost:1", "127.0.0.1:50051", "[::1]:50051"] {
            assert_eq!(good.parse::<HostPort>().unwrap().to_string(), good);
        }
        for bad in
            ["", "merchant", ":50051", "merchant:", "merchant:65536", "http://merchant:1", "a@b:1", "::1:5"]
        {
            assert!(bad.parse::<HostPort>().is_err(), "{bad}");
        }
    }
}
