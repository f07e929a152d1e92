//! What must hold of the platform as processes.

mod crash_points;
mod rolling_restart;

use std::path::PathBuf;

use tael_chaos::platform::{Platform, Reach, Setup};
use tael_chaos::processes::Environment;
use tael_chaos::servers::Servers;

/// All services as processes, on the servers that `make test` has started. The name is that of the databases and of the
/// folder of the logs.
async fn start(name: &str, replicas: usize, reach: Reach, environment: Environment) -> Platform {
    let variable = |name| std::env::var(name).expect("set as `make test` does");
    let servers = Servers::shared(variable("TAEL_DATABASE_URL"), variable("TAEL_REDIS_URL"));
    // Test binaries are in a folder below that of the others.
    let binaries = std::env::current_exe().expect("this program is somewhere");
    let binaries = binaries.ancestors().nth(2).expect("test binaries are in target/*/deps");
    let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&logs);
    let setup = Setup { servers, binaries, logs: &logs, prefix: name, replicas, reach, environment };
    Platform::start(setup).await.expect("the platform starts")
}
