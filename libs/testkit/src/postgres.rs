//! A PostgreSQL of a test's own, for tests that do harm to the whole server.

use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;
use url::Url;
use uuid::Uuid;

/// A server in a folder of its own, stopped and removed with the value. Made by `scripts/local.sh`, as those that the other
/// tests share.
#[derive(Debug)]
pub struct PostgresServer {
    folder: PathBuf,
    url: Url,
}

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/local.sh");

impl PostgresServer {
    /// Starts one.
    pub async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("tael-postgres-{}", Uuid::new_v4().simple()));
        let started = command(&folder, "start").arg("--disposable").arg(&folder).output().await;
        succeeded(&started.expect("scripts/local.sh can be run"));
        let show = format!(". '{}' && printf %s \"$TAEL_DATABASE_URL\"", folder.join("env").display());
        let shown = Command::new("bash").args(["-c", &show]).output().await.expect("bash can be run");
        succeeded(&shown);
        let url = String::from_utf8_lossy(&shown.stdout).parse().expect("the script writes a URL");
        Self { folder, url }
    }

    /// Returns its address, as a role that may do everything.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

fn command(folder: &Path, what: &str) -> Command {
    let mut command = Command::new(SCRIPT);
    // Only PostgreSQL is wanted; which Redis is named does not matter.
    command.env_remove("TAEL_DATABASE_URL").env("TAEL_REDIS_URL", "redis://127.0.0.1:1").arg(what);
    command.current_dir(folder.parent().unwrap_or(folder)).kill_on_drop(true);
    command
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let stopped = std::process::Command::new(SCRIPT).arg("stop").arg(&self.folder).output();
        if !stopped.is_ok_and(|output| output.status.success()) {
            eprintln!("the PostgreSQL in {} was not stopped", self.folder.display());
        }
        // Under root its data lie in a folder elsewhere, to which `postgres` is a link.
        if let Ok(data) = std::fs::canonicalize(self.folder.join("postgres")) {
            drop(std::fs::remove_dir_all(data));
        }
        drop(std::fs::remove_dir_all(&self.folder));
    }
}
