//! A service in a process of its own.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use tael_clock::Clock;
use tael_config::Env;
use tael_grpc::status::Chain;
use tael_telemetry::TelemetryConfig;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Service, StartError};

/// How long work in flight has to end after SIGTERM or SIGINT.
const DRAIN: Duration = Duration::from_secs(25);
/// How long a database that does not answer is waited for at start, unless `TAEL_START_PATIENCE` says otherwise.
const START_PATIENCE: Duration = Duration::from_mins(5);
/// The pauses between two tries to start.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(1);

/// Runs a service until SIGTERM or SIGINT, then drains. Exit codes: 0 ended as told, 1 a part failed or draining
/// took too long, 2 the configuration is wrong, 3 it could not start.
///
/// A database that does not answer yet is waited for: an orchestrator's pauses between two starts grow to minutes, and
/// a service would come back long after its database.
pub fn main<S: Service>() -> ExitCode {
    let mut env = Env::from_process();
    let telemetry = TelemetryConfig::from_env(&mut env, S::NAME);
    let patience = env.duration("TAEL_START_PATIENCE", START_PATIENCE);
    let config = match S::config(&mut env) {
        Ok(config) => config,
        Err(errors) => {
            eprintln!("tael-{}: the configuration is wrong:\n{errors}", S::NAME);
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tael-{}: no runtime: {error}", S::NAME);
            return ExitCode::from(3);
        }
    };
    runtime.block_on(async {
        let telemetry = match tael_telemetry::init(telemetry) {
            Ok(telemetry) => telemetry,
            Err(error) => {
                eprintln!("tael-{}: no telemetry: {error}", S::NAME);
                return ExitCode::from(3);
            }
        };
        let code = run::<S>(config, patience).await;
        telemetry.shutdown();
        code
    })
}

async fn run<S: Service>(config: S::Config, patience: Duration) -> ExitCode {
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(shutdown.clone()));
    let built = tokio::select! {
        built = build::<S>(config, patience) => built,
        () = shutdown.cancelled() => return ExitCode::SUCCESS,
    };
    let service = match built {
        Ok(service) => service,
        Err(error) => {
            tracing::error!(error = %Chain(&*error), "could not start");
            return ExitCode::from(3);
        }
    };
    tracing::info!(service = S::NAME, addr = %service.addr(), "serving");
    let deadline = async {
        shutdown.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        result = service.run(shutdown.clone()) => match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!(error = %Chain(&error), "failed");
                ExitCode::FAILURE
            }
        },
        () = deadline => {
            tracing::error!("draining took too long");
            ExitCode::FAILURE
        }
    }
}

/// Builds the service, again and again as long as only the database is missing and the patience lasts.
async fn build<S: Service>(config: S::Config, patience: Duration) -> Result<S, StartError> {
    let give_up = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        match S::build(config.clone(), Clock::system()).await {
            Err(error) if may_pass(&*error) && Instant::now() + pause < give_up => {
                tracing::warn!(error = %Chain(&*error), "could not start yet");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LAST_PAUSE);
            }
            built => return built,
        }
    }
}

/// Says whether a service may start later that did not start now.
fn may_pass(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(tael_postgres::is_transient) {
            return true;
        }
        cause = error.source();
    }
    false
}

async fn cancel_on_signal(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals can't be listened to");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("told to end; draining");
    shutdown.cancel();
}
