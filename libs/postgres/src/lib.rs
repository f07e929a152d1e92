//! PostgreSQL plumbing: pools with bounds, databases and migrations at start, and what an error means to a caller.

use std::str::FromStr as _;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tonic::Status;

/// Makes a pool that connects when it is first used. Statements, lock waits and idle transactions have an end, so
/// that one stuck session can't hold the rest for ever.
pub fn connect(url: &SecretString, application: &str, max_connections: u32) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(url.expose_secret())?.application_name(application).options([
        ("statement_timeout", "15s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "30s"),
    ]);
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(5))
        .connect_lazy_with(options))
}

/// Creates the database that `url` names unless it exists. Safe when several processes do it at once.
pub async fn create_database(url: &SecretString) -> Result<(), sqlx::Error> {
    let options = PgConnectOptions::from_str(url.expose_secret())?;
    let name = options.get_database().unwrap_or("postgres").to_owned();
    let mut conn = PgConnection::connect_with(&options.database("postgres")).await?;
    let exists = sqlx::query_scalar::<_, bool>("select exists (select from pg_database where datname = $1)")
        .bind(&name)
        .fetch_one(&mut conn)
        .await?;
    if exists {
        return Ok(());
    }
    let quoted = name.replace('"', "\"\"");
    match sqlx::query(AssertSqlSafe(format!("create database \"{quoted}\""))).execute(&mut conn).await {
        // 42P04 duplicate_database, or 23505 when two sessions race for the catalogue's row.
        Err(sqlx::Error::Database(e)) if matches!(e.code().as_deref(), Some("42P04" | "23505")) => Ok(()),
        other => other.map(drop),
    }
}

/// Brings the schema up to date. Replicas that start at once wait for one another.
pub async fn migrate(pool: &PgPool, migrator: &Migrator) -> Result<(), sqlx::migrate::MigrateError> {
    migrator.run(pool).await
}

/// Says whether the database answers, for readiness.
pub async fn ping(pool: &PgPool) -> bool {
    sqlx::query("select 1").execute(pool).await.is_ok()
}

/// Returns the name of the constraint that a statement violated.
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.constraint()
}

/// Says whether the same statement may succeed when it is repeated: the connection was lost, the pool was empty,
/// the server shut down or refused, a lock was not had in time, or another transaction won.
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(e) => e.code().is_some_and(|code| {
            // Classes 08 connection, 40 rollback (serialization, deadlock), 53 resources, 57 operator intervention,
            // 58 system, and 55P03 lock_not_available (PostgreSQL manual, appendix A).
            ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || code == "55P03"
        }),
        _ => false,
    }
}

/// Turns an error of a statement into what the caller is told: to call again, or an incident. Neither says why; the
/// log does.
pub fn status(error: &sqlx::Error) -> Status {
    if is_transient(error) {
        tael_grpc::status::unavailable("postgres", error)
    } else {
        tael_grpc::status::broken_invariant(error)
    }
}

/// A row that can't be what we wrote: a state that does not exist, a combination that must not be.
#[derive(Debug, thiserror::Error)]
#[error("table {table}, column {column}, row {row}: {problem}")]
pub struct InconsistentRow {
    /// The table.
    pub table: &'static str,
    /// The column that is wrong.
    pub column: &'static str,
    /// The row's key.
    pub row: String,
    /// What is wrong with it.
    pub problem: String,
}

impl From<InconsistentRow> for sqlx::Error {
    fn from(error: InconsistentRow) -> Self {
        Self::Decode(Box::new(error))
    }
}
