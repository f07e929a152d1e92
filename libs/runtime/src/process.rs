//! A service in a process of its own.

use std::process::ExitCode;
use std::time::Duration;

use tael_clock::Clock;
use tael_config::Env;
use tael_grpc::status::Chain;
use tael_telemetry::TelemetryConfig;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::Service;

/// How long work in flight has to end after SIGTERM or SIGINT.
const DRAIN: Duration = Duration::from_secs(25);

/// Runs a service until SIGTERM or SIGINT, then drains. Exit codes: 0 ended as told, 1 a part failed or draining
/// took too long, 2 the configuration is wrong, 3 it could not start.
pub fn main<S: Service>() -> ExitCode {
    let mut env = Env::from_process();
    let telemetry = TelemetryConfig::from_env(&mut env, S::NAME);
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
        let code = run::<S>(config).await;
        telemetry.shutdown();
        code
    })
}

async fn run<S: Service>(config: S::Config) -> ExitCode {
    let service = match S::build(config, Clock::system()).await {
        Ok(service) => service,
        Err(error) => {
            tracing::error!(error = %Chain(&*error), "could not start");
            return ExitCode::from(3);
        }
    };
    tracing::info!(service = S::NAME, addr = %service.addr(), "serving");
    let shutdown = CancellationToken::new();
    tokio::spawn(cancel_on_signal(shutdown.clone()));
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
