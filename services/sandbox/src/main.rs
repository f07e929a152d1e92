//! Runs the sandbox: configuration from the environment, until SIGINT or SIGTERM.

use std::{env, io::IsTerminal, process::ExitCode};

use tael_sandbox::{App, Config};
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

const USAGE: &str = "\
Plays payment channels (Alipay) for development and tests, until SIGINT or SIGTERM.

Usage: tael-sandbox [--version | --help]

Configuration is by environment variables, described in services/sandbox/README.md.";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["--version" | "-V"] => {
            let commit = option_env!("TAEL_COMMIT").filter(|commit| !commit.is_empty()).unwrap_or("unknown");
            println!("tael-sandbox {} ({commit})", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    }
    let filter = env::var("RUST_LOG").ok().and_then(|filter| filter.parse::<Targets>().ok());
    let filter = filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let ansi = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_ansi(ansi).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(lines).with(filter).init();
    match try_main().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            let mut source = error.source();
            while let Some(cause) = source {
                eprintln!("  because {cause}");
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}

async fn try_main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::from_lookup(|name| env::var(name).ok())?;
    let app = App::build(config).await?;
    println!("sandbox listening on {}", app.url());
    let mut terminated = signal(SignalKind::terminate())?;
    app.run(async move {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminated.recv() => {}
        }
    })
    .await?;
    Ok(())
}
