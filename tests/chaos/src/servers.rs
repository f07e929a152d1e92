//! PostgreSQL and Redis of the run, through `scripts/local.sh`, which knows where they are and as whom to run them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::Instant;

use crate::Error;

/// How often a server that comes back is tried.
const TRY_EVERY: Duration = Duration::from_millis(10);
/// How long a server may take to come back.
const PATIENCE: Duration = Duration::from_mins(1);

/// The two servers, which may be crashed: they belong to this run alone.
#[derive(Clone, Debug)]
pub struct Servers {
    script: PathBuf,
    folder: PathBuf,
    database_url: String,
    redis_url: String,
}

impl Servers {
    /// Takes servers that are used by others, too, and may not be crashed.
    pub fn shared(database_url: String, redis_url: String) -> Self {
        Self { script: PathBuf::new(), folder: PathBuf::new(), database_url, redis_url }
    }

    /// Takes the servers that `scripts/local.sh with FOLDER` has started.
    pub fn at(folder: &Path) -> Result<Self, Error> {
        let env = std::fs::read_to_string(folder.join("env")).map_err(|e| {
            format!("no servers run in {}: {e}; use `make chaos`, which starts them", folder.display())
        })?;
        let value = |name: &str| {
            let line = env.lines().find_map(|line| line.strip_prefix(&format!("export {name}=")));
            line.map(str::to_owned).ok_or_else(|| format!("{name} is not in {}/env", folder.display()))
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/local.sh");
        Ok(Self {
            script,
            folder: folder.to_owned(),
            database_url: value("TAEL_DATABASE_URL")?,
            redis_url: value("TAEL_REDIS_URL")?,
        })
    }

    /// Where PostgreSQL listens, as "127.0.0.1:5432".
    pub fn postgres_address(&self) -> &str {
        authority(&self.database_url)
    }

    /// Redis, as services are told of it.
    pub fn redis_url(&self) -> &str {
        &self.redis_url
    }

    /// A database, past any forwarder.
    pub fn database_url(&self, database: &str) -> String {
        match self.database_url.rsplit_once('/') {
            Some((server, _)) => format!("{server}/{database}"),
            None => self.database_url.clone(),
        }
    }

    /// Lets a crashed server come back soon: only its processes crash here, so that one flush of the file system does
    /// instead of one for each of some thousand files. Servers or systems that don't know that option go on as they are.
    pub async fn recover_quickly(&self) -> Result<(), Error> {
        let mut conn = PgConnection::connect(&self.database_url).await?;
        let set =
            sqlx::query("alter system set recovery_init_sync_method = 'syncfs'").execute(&mut conn).await;
        if let Err(error) = set {
            tracing::info!(%error, "PostgreSQL recovers file by file");
        }
        Ok(())
    }

    /// A database, reached through a forwarder.
    pub fn database_url_at(&self, forwarder: SocketAddr, database: &str) -> String {
        self.database_url(database).replacen(self.postgres_address(), &forwarder.to_string(), 1)
    }

    /// Flushes everything that was written so far, so that a crash soon after has little to recover.
    pub async fn checkpoint(&self) -> Result<(), Error> {
        let mut conn = PgConnection::connect(&self.database_url).await?;
        sqlx::query("checkpoint").execute(&mut conn).await?;
        Ok(())
    }

    /// Creates an empty database.
    pub async fn create_database(&self, name: &str) -> Result<(), Error> {
        let mut conn = PgConnection::connect(&self.database_url).await?;
        // The name is ours: a fixed prefix and a service's name.
        sqlx::query(AssertSqlSafe(format!("drop database if exists \"{name}\" with (force)")))
            .execute(&mut conn)
            .await?;
        sqlx::query(AssertSqlSafe(format!("create database \"{name}\""))).execute(&mut conn).await?;
        Ok(())
    }

    /// Ends PostgreSQL as a crash does: what was not flushed is lost. Its log is kept in `keep_log`.
    pub async fn crash_postgres(&self, keep_log: &Path) -> Result<(), Error> {
        self.run(&["crash", "postgres"], None).await?;
        // The script begins a new log at every start.
        if let Ok(log) = std::fs::read(self.folder.join("postgres/log")) {
            use std::io::Write as _;
            let mut file = std::fs::OpenOptions::new().create(true).append(true).open(keep_log)?;
            file.write_all(&log)?;
        }
        Ok(())
    }

    /// Starts PostgreSQL again at its port, and returns the moment from which it accepted connections.
    pub async fn start_postgres(&self) -> Result<Instant, Error> {
        let (started, accepting) =
            tokio::join!(self.run(&["start"], Some(("TAEL_REDIS_URL", &self.redis_url))), self.accepting());
        started?;
        accepting
    }

    async fn accepting(&self) -> Result<Instant, Error> {
        let begin = Instant::now();
        loop {
            match PgConnection::connect(&self.database_url).await {
                Ok(conn) => {
                    let now = Instant::now();
                    let _ = conn.close().await;
                    return Ok(now);
                }
                // Every slot may be taken already by those who waited for it: then it accepts connections.
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("53300") => {
                    return Ok(Instant::now());
                }
                Err(error) if begin.elapsed() > PATIENCE => {
                    return Err(format!("PostgreSQL does not come back: {error}").into());
                }
                Err(_) => tokio::time::sleep(TRY_EVERY).await,
            }
        }
    }

    /// Kills Redis.
    pub async fn crash_redis(&self) -> Result<(), Error> {
        self.run(&["crash", "redis"], None).await
    }

    /// Starts Redis again at its port, empty.
    pub async fn start_redis(&self) -> Result<(), Error> {
        self.run(&["start"], Some(("TAEL_DATABASE_URL", &self.database_url))).await
    }

    /// Lets Redis hang: connections are accepted and nothing is answered.
    pub async fn freeze_redis(&self) -> Result<(), Error> {
        self.run(&["freeze"], None).await
    }

    /// Lets Redis go on.
    pub async fn thaw_redis(&self) -> Result<(), Error> {
        self.run(&["thaw"], None).await
    }

    /// Empties Redis.
    pub async fn flush_redis(&self) -> Result<(), Error> {
        let mut redis = TcpStream::connect(authority(&self.redis_url)).await?;
        let mut answer = [0; 5];
        if let Some(password) = password(&self.redis_url) {
            redis.write_all(format!("AUTH {password}\r\n").as_bytes()).await?;
            redis.read_exact(&mut answer).await?;
        }
        redis.write_all(b"FLUSHALL\r\n").await?;
        redis.read_exact(&mut answer).await?;
        if &answer == b"+OK\r\n" { Ok(()) } else { Err("Redis does not want to be flushed".into()) }
    }

    /// `local.sh <command> FOLDER <rest>`. A server that is given by the environment is not started: so the other one
    /// of the two is given when one is.
    async fn run(&self, arguments: &[&str], given: Option<(&str, &str)>) -> Result<(), Error> {
        let output = Command::new(&self.script)
            .arg(arguments[0])
            .arg(&self.folder)
            .args(&arguments[1..])
            .env_remove("TAEL_DATABASE_URL")
            .env_remove("TAEL_REDIS_URL")
            .envs(given)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("scripts/local.sh {}: {said}", arguments.join(" ")).into())
    }
}

fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

/// The password of an address, as `scripts/local.sh` gives it: of letters and digits.
fn password(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let (credentials, _) = rest.rsplit_once('@')?;
    credentials.split_once(':').map(|(_, password)| password)
}

#[cfg(test)]
mod tests {
    use super::{authority, password};

    #[test]
    fn a_password_is_between_user_and_host() {
        assert_eq!(password("redis://:0af5@127.0.0.1:6379"), Some("0af5"));
        assert_eq!(password("postgres://tael:0af5@127.0.0.1:5432/postgres"), Some("0af5"));
        assert_eq!(password("redis://127.0.0.1:6379"), None);
    }

    #[test]
    fn an_authority_is_host_and_port() {
        assert_eq!(authority("postgres://tael@127.0.0.1:5432/postgres"), "127.0.0.1:5432");
        assert_eq!(authority("redis://127.0.0.1:6379"), "127.0.0.1:6379");
    }
}
