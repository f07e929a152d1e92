//! `make chaos`: one run, its report, and whether anything must not be.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;

use clap::Parser;
use tael_chaos::Error;
use tael_chaos::processes::Service;
use tael_chaos::run::{Options, run};

#[derive(Parser)]
#[command(about = "Breaks a running platform on purpose and checks that no money was lost or moved twice")]
struct Args {
    /// For how many seconds things go wrong.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// Makes the schedule of an earlier run again; a new one by default.
    #[arg(long)]
    seed: Option<u64>,
    /// How many replicas must be killed at least; by default a third of the seconds.
    #[arg(long)]
    minimum_kills: Option<u64>,
    /// How many clients play journeys at once.
    #[arg(long, default_value_t = 24)]
    clients: usize,
    /// Instead of everything else, all replicas of this service are down for the time, and are to catch up within ten
    /// seconds while the clients go on.
    #[arg(long)]
    outage: Option<Service>,
    /// Where to write the report as JSON, beside the folder of the logs.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Where the services' binaries are; by default beside this one.
    #[arg(long)]
    bin_dir: Option<PathBuf>,
    /// Where `scripts/local.sh with` has started PostgreSQL and Redis.
    #[arg(long, default_value = ".tael/chaos/servers")]
    servers: PathBuf,
    /// Where a folder named as the seed gets logs, schedule, book and report.
    #[arg(long, default_value = ".tael/chaos")]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match try_main(Args::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("tael-chaos: {error}");
            ExitCode::from(2)
        }
    }
}

async fn try_main(args: Args) -> Result<bool, Error> {
    let seed = args.seed.unwrap_or_else(|| rand::random::<u64>() % 1_000_000);
    let folder = args.folder.join(seed.to_string());
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    let folder = folder.canonicalize()?;
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(Mutex::new(File::create(folder.join("chaos.log"))?))
        .init();
    println!("chaos with seed {seed}; logs are in {}", folder.display());
    let beside =
        std::env::current_exe()?.parent().map(PathBuf::from).ok_or("this program is in no folder")?;
    let options = Options {
        seed,
        seconds: args.seconds,
        minimum_kills: args.minimum_kills.unwrap_or(if args.outage.is_some() { 2 } else { args.seconds / 3 }),
        clients: args.clients,
        outage: args.outage,
        binaries: args.bin_dir.unwrap_or(beside),
        servers: args.servers,
        folder: folder.clone(),
    };
    let report = run(&options).await?;
    println!("{report}");
    let json = serde_json::to_vec_pretty(&report)?;
    std::fs::write(folder.join("report.json"), &json)?;
    if let Some(file) = args.report {
        std::fs::write(file, &json)?;
    }
    Ok(report.passed())
}
