//! A service in a process of its own.

use std::process::ExitCode;
use std::time::Duration;

use tael_clock::Clock;
use tael_config::{ConfigErrors, Env};
use tael_grpc::status::Chain;
use tael_telemetry::TelemetryConfig;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::arguments::{self, Command};
use crate::start::retry;
use crate::{Service, gauges, migrate};

/// How long work in flight has to end after SIGTERM or SIGINT.
const DRAIN: Duration = Duration::from_secs(25);
/// How long a database that does not answer is waited for at start, unless `TAEL_START_PATIENCE` says otherwise.
const START_PATIENCE: Duration = Duration::from_mins(5);

/// Runs a service until SIGTERM or SIGINT, then drains; or what the command line says instead. Exit codes: 0 ended as
/// told, 1 a part failed or draining took too long, 2 the arguments or the configuration are wrong, 3 it could not
/// start, or not migrate.
///
/// `commit` is what the binary was built from, for `--version`: `option_env!("TAEL_COMMIT")`, asked for in the binary's
/// own file so that another commit builds that file anew and nothing else.
///
/// A database that does not answer yet is waited for: an orchestrator's pauses between two starts grow to minutes, and
/// a service would come back long after its database.
pub fn main<S: Service>(commit: Option<&'static str>) -> ExitCode {
    let arguments = arguments::parse::<S>(commit);
    let mut env = Env::from_process();
    let telemetry = TelemetryConfig::from_env(&mut env, S::NAME);
    let patience = env.duration("TAEL_START_PATIENCE", START_PATIENCE);
    match arguments.command {
        None => match S::config(&mut env) {
            Ok(config) => run_process(S::NAME, telemetry, |shutdown| {
                gauges::tell_build(arguments::VERSION, arguments::known(commit).to_owned());
                serve::<S>(config, patience, shutdown)
            }),
            Err(errors) => misconfigured(S::NAME, &errors),
        },
        Some(Command::Migrate { .. }) if S::SCHEMAS.is_empty() => {
            eprintln!("tael-{}: there is no database, so there is nothing to migrate", S::NAME);
            ExitCode::from(2)
        }
        Some(Command::Migrate { grant_to }) => {
            let database_url = env.secret("TAEL_DATABASE_URL");
            match env.finish(|| database_url) {
                Ok(database_url) => {
                    let role = grant_to.filter(|role| !role.is_empty());
                    run_process(S::NAME, telemetry, |shutdown| {
                        migrate::run::<S>(database_url, role, patience, shutdown)
                    })
                }
                Err(errors) => misconfigured(S::NAME, &errors),
            }
        }
    }
}

fn misconfigured(name: &str, errors: &ConfigErrors) -> ExitCode {
    eprintln!("tael-{name}: the configuration is wrong:\n{errors}");
    ExitCode::from(2)
}

/// Runs `work` on a runtime, with telemetry, and with a token that SIGTERM and SIGINT cancel.
fn run_process<F: Future<Output = ExitCode>>(
    name: &str,
    telemetry: TelemetryConfig,
    work: impl FnOnce(CancellationToken) -> F,
) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("tael-{name}: no runtime: {error}");
            return ExitCode::from(3);
        }
    };
    let code = runtime.block_on(async {
        let telemetry = match tael_telemetry::init(telemetry) {
            Ok(telemetry) => telemetry,
            Err(error) => {
                eprintln!("tael-{name}: no telemetry: {error}");
                return ExitCode::from(3);
            }
        };
        let shutdown = CancellationToken::new();
        tokio::spawn(cancel_on_signal(shutdown.clone()));
        let code = work(shutdown).await;
        telemetry.shutdown();
        code
    });
    // What blocks a thread, as a look-up of a name does while the name server is away, can't be told to stop.
    runtime.shutdown_background();
    code
}

async fn serve<S: Service>(config: S::Config, patience: Duration, shutdown: CancellationToken) -> ExitCode {
    let built = tokio::select! {
        built = retry(patience, || S::build(config.clone(), Clock::system())) => built,
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_thread_that_is_blocked_does_not_hold_the_process() {
        let telemetry = TelemetryConfig::from_env(&mut Env::from_map([]), "test");
        let (release, blocked) = mpsc::channel::<()>();
        let (ended, end) = mpsc::channel();
        thread::spawn(move || {
            run_process("test", telemetry, async |_| {
                let (begun, begins) = tokio::sync::oneshot::channel();
                tokio::task::spawn_blocking(move || (begun.send(()), blocked.recv()));
                begins.await.unwrap();
                ExitCode::SUCCESS
            });
            ended.send(()).unwrap();
        });
        end.recv_timeout(Duration::from_secs(5)).unwrap();
        drop(release);
    }
}
