//! The all-in-one binary: every service in one process, for development, demonstration and load.
#![deny(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "they panic when nobody reads any more: say!, complain!"
)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use secrecy::{ExposeSecret as _, SecretString};
use tael::platform::{self, Platform, Ports, Settings};
use tael::traces::{self, Collector, Limits};
use tael::{Error, audit, bench, demo};
use tael_config::Env;
use tael_grpc::status::Chain;
use tael_principal::SigningKey;
use tael_telemetry::{LogFormat, TelemetryConfig};
use tokio_util::sync::CancellationToken;

#[derive(Parser)]
#[command(name = "tael", version = tael_runtime::version(option_env!("TAEL_COMMIT")))]
#[command(about = "Tael, a self-hosted merchant payment platform: all services in one process")]
struct Args {
    #[command(subcommand)]
    command: Command,

    /// The PostgreSQL server; a database per service is created on it.
    #[arg(long, env = "TAEL_DATABASE_URL", hide_env_values = true)]
    database_url: Option<SecretString>,

    /// The Redis server.
    #[arg(long, env = "TAEL_REDIS_URL", hide_env_values = true)]
    redis_url: Option<SecretString>,
}

#[derive(Subcommand)]
enum Command {
    /// Run the platform until interrupted and print its addresses.
    Up {
        /// Take free ports instead of the usual ones.
        #[arg(long)]
        free_ports: bool,
        /// Where to keep the key that seals secrets in the database.
        #[arg(long, default_value = ".tael/up/sealing.key")]
        key_file: PathBuf,
        /// Where the sandbox keeps its keys and its merchants' apps, without which the channel accounts of an earlier run
        /// would be of no use.
        #[arg(long, default_value = ".tael/up/sandbox")]
        sandbox_keys: PathBuf,
        /// Keep at most this many spans for the viewer of traces.
        #[arg(long, default_value_t = Limits::default().spans)]
        trace_spans: usize,
        /// Keep at most this many MiB of spans.
        #[arg(long, default_value_t = Limits::default().bytes >> 20)]
        trace_mebibytes: usize,
    },
    /// Print what became of an order, a payment or a refund: every trace that carries its id, as a tree.
    Trace(traces::print::Options),
    /// Play the main journey, from a price to reconciled books, and print every step with its figures.
    Demo,
    /// Load a platform with full journeys and print rates, latencies and whether the money adds up.
    Bench(Box<bench::Options>),
    /// Compare what all services and the channels hold to be true about money; exits with 1 when something disagrees.
    Audit(audit::Options),
    /// Print a new key that signs principals (`TAEL_PRINCIPAL_SIGNING_KEY`, for the merchant service only) and its public
    /// half (to be added to `TAEL_PRINCIPAL_KEYS` of all).
    PrincipalKey {
        /// The key's id: 1 to 32 letters, digits, '-', '_' and '.'.
        id: String,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new().expect("the machine lets us start threads");
    match runtime.block_on(run(args)) {
        Ok(code) => code,
        Err(error) => {
            tael::complain!("tael: {}", Chain(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<ExitCode, Error> {
    let servers = || -> Result<(SecretString, SecretString), Error> {
        let missing = "set TAEL_DATABASE_URL and TAEL_REDIS_URL, or use `make`, which starts private servers";
        Ok((args.database_url.clone().ok_or(missing)?, args.redis_url.clone().ok_or(missing)?))
    };
    match args.command {
        Command::Up { free_ports, key_file, sandbox_keys, trace_spans, trace_mebibytes } => {
            let (database_url, redis_url) = servers()?;
            let ports = if free_ports { Ports::Free } else { Ports::Usual };
            let sealing_keys = platform::sealing_keys(&key_file)?;
            let settings = Settings {
                database_url,
                redis_url,
                prefix: "tael",
                fresh: false,
                own_role: false,
                ports,
                sealing_keys,
                certificates: None,
                sandbox_keys: Some(sandbox_keys),
            };
            up(settings, Limits { spans: trace_spans, bytes: trace_mebibytes.saturating_mul(1 << 20) }).await
        }
        Command::Demo => {
            let (database_url, redis_url) = servers()?;
            play_demo(own_platform(database_url, redis_url, "tael_demo")).await
        }
        Command::PrincipalKey { id } => {
            let signing = SigningKey::generate_text(&id)?;
            let public = signing.expose_secret().parse::<SigningKey>()?.verification_text();
            tael::say!(
                "TAEL_PRINCIPAL_SIGNING_KEY={}\nTAEL_PRINCIPAL_KEYS={public}",
                signing.expose_secret()
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Trace(options) => traces::print::run(&options).await,
        Command::Audit(options) => Ok(audit::run(&options).await),
        Command::Bench(options) => {
            if let Some(rounds) = options.rounds_of_tracing() {
                servers()?;
                let passed = bench::compare_tracing(&options, rounds).await?;
                return Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE });
            }
            let telemetry = tael_telemetry::init(telemetry(None, "warn")?)?;
            let passed = if options.is_against_running() {
                bench::run(&options, None).await?
            } else {
                let (database_url, redis_url) = servers()?;
                let platform =
                    Platform::start(own_platform(database_url, redis_url, options.prefix())).await?;
                let passed = bench::run(&options, Some(&platform.addresses)).await?;
                platform.stop().await?;
                passed
            };
            telemetry.shutdown();
            Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// A platform on databases of its own, which are made anew.
fn own_platform(database_url: SecretString, redis_url: SecretString, prefix: &'static str) -> Settings {
    let sealing_keys = tael_sealed::Keyring::generate_text("demo");
    Settings {
        database_url,
        redis_url,
        prefix,
        fresh: true,
        own_role: false,
        ports: Ports::Free,
        sealing_keys,
        certificates: None,
        sandbox_keys: None,
    }
}

/// Telemetry as the environment asks for; where it says nothing, with logs that a person reads.
fn telemetry(otlp_endpoint: Option<String>, log_filter: &str) -> Result<TelemetryConfig, Error> {
    let mut env = Env::from_process();
    let mut config = TelemetryConfig::from_env(&mut env, "tael");
    env.finish(|| Some(()))?;
    if std::env::var_os("TAEL_LOG_FORMAT").is_none() {
        config.log_format = LogFormat::Text;
    }
    if std::env::var_os("TAEL_LOG").is_none() {
        log_filter.clone_into(&mut config.log_filter);
    }
    if otlp_endpoint.is_some() {
        config.otlp_endpoint = otlp_endpoint;
    }
    Ok(config)
}

async fn up(settings: Settings, limits: Limits) -> Result<ExitCode, Error> {
    let local = traces::Local::start(settings.ports, limits).await?;
    let mut config = telemetry(None, "info")?;
    let elsewhere = config.otlp_endpoint.clone();
    config.otlp_endpoint.get_or_insert_with(|| local.collector.endpoint());
    let telemetry = tael_telemetry::init(config)?;
    let shutdown = CancellationToken::new();
    let platform = Platform::start(settings).await?;
    tael::output::print(format_args!("{}{local}", platform.addresses));
    if let Some(endpoint) = elsewhere {
        tael::say!("\nThe platform's own spans go to {endpoint}, as OTEL_EXPORTER_OTLP_ENDPOINT says.");
    }
    tael::say!("\nInterrupt to end.");
    tokio::spawn({
        let shutdown = shutdown.clone();
        async move {
            platform::interrupted().await;
            shutdown.cancel();
        }
    });
    let result = platform.run_until(shutdown).await;
    // Exporting blocks until the collector, which may be on this runtime, has answered.
    tokio::task::spawn_blocking(move || telemetry.shutdown()).await?;
    result.map(|()| ExitCode::SUCCESS)
}

async fn play_demo(settings: Settings) -> Result<ExitCode, Error> {
    // The demo's own collector, so that the trace can be shown: spans reach it by OTLP as they would any other.
    let collector = Collector::start().await?;
    let telemetry = tael_telemetry::init(telemetry(Some(collector.endpoint()), "warn")?)?;
    let platform = Platform::start(settings).await?;
    let passed = demo::play(&platform.addresses, &collector).await;
    platform.stop().await?;
    // Exporting blocks until the collector, on this runtime, has answered.
    tokio::task::spawn_blocking(move || telemetry.shutdown()).await?;
    Ok(if passed? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
