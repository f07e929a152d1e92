//! PostgreSQL plumbing: pools with bounds, databases and migrations at start, and what an error means to a caller.

mod schema;
mod writable;

use std::future::Future;
use std::io::ErrorKind;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

pub use schema::{GrantError, Schema, SchemaError, check, grant, migrate};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use tonic::Status;
use writable::{Looks, READ_ONLY};

/// How long a call waits at most for a connection: less than any caller's deadline, so that the caller is told and can
/// come back. While the database is down, it is tried again at least five times in this time.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);

/// Makes a pool that connects when it is first used.
///
/// Nothing in it waits for ever. Statements, lock waits and idle transactions have an end at the server, so that one
/// stuck session can't hold up the rest. A session whose client was lost without a word ends within half a minute. And a
/// connection that was lost without a word on our side is given up when it is next taken or given back, instead of
/// holding its place until TCP gives up, a quarter of an hour later.
///
/// And it holds no connection to a server that takes no writes, as a standby doesn't: after a failover the database's name
/// may lead to the old primary for a while, and who connected then would be refused again and again. Connections are
/// looked at when they are made and when they rested; of those that are busy one is looked at every 10 ms, and once one was
/// refused (SQLSTATE 25006) all are, so that a server that turns read-only is left at once. A session that its server
/// ended (57P01 to 57P05, 08xxx) is found out when it is given back.
///
/// A statement whose connection falls silent while it runs ends when its future is dropped. A call's deadline does that;
/// a worker must set an end itself, as with [`within`].
pub fn connect(url: &SecretString, application: &str, max_connections: u32) -> Result<PgPool, sqlx::Error> {
    let options = PgConnectOptions::from_str(url.expose_secret())?.application_name(application).options([
        ("statement_timeout", "15s"),
        ("lock_timeout", "5s"),
        ("idle_in_transaction_session_timeout", "30s"),
        // Migrations that find their own table are no news.
        ("client_min_messages", "warning"),
        ("tcp_keepalives_idle", "10"),
        ("tcp_keepalives_interval", "5"),
        ("tcp_keepalives_count", "4"),
    ]);
    let looks = Arc::new(Looks::new());
    Ok(PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // In its place, the same with an end, and only for those that rested.
        .test_before_acquire(false)
        .before_acquire({
            let looks = looks.clone();
            move |conn, meta| {
                let looks = looks.clone();
                Box::pin(async move { looks.before_use(conn, meta.idle_for).await })
            }
        })
        // Who is refused here tries again as long as there is time.
        .after_connect({
            let looks = looks.clone();
            move |conn, _| {
                let looks = looks.clone();
                Box::pin(async move {
                    if looks.look(conn).await? {
                        Ok(())
                    } else {
                        Err(sqlx::Error::Protocol(READ_ONLY.into()))
                    }
                })
            }
        })
        .after_release(move |conn, _| {
            let looks = looks.clone();
            Box::pin(async move { looks.after_use(conn).await })
        })
        .connect_lazy_with(options))
}

/// Gives work on the database an end, for those who have no caller whose deadline would do that: after `limit` it fails as
/// if its connection had broken, and that connection is not used again.
///
/// What was asked for may have happened all the same, or may still: a COMMIT whose answer is lost is a commit.
pub async fn within<T, E: From<sqlx::Error>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::time::timeout(limit, work)
        .await
        .unwrap_or_else(|_elapsed| Err(sqlx::Error::Io(ErrorKind::TimedOut.into()).into()))
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

/// Says whether the database answers, for readiness.
pub async fn ping(pool: &PgPool) -> bool {
    sqlx::query("select 1").execute(pool).await.is_ok()
}

/// Returns the name of the constraint that a statement violated.
pub fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error()?.constraint()
}

/// Says whether the same transaction may succeed when it is repeated: the connection was lost, the pool was empty, the
/// server shut down, refused, or had no room, a lock was not had in time, or another transaction won. It was rolled back;
/// only of one whose COMMIT was not answered nobody knows, and an idempotency key finds out.
pub fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(e) => e.code().is_some_and(|code| is_transient_state(&code)),
        _ => false,
    }
}

/// The states of SQL (PostgreSQL manual, appendix A) that pass by themselves or by an operator's hand.
fn is_transient_state(code: &str) -> bool {
    // Classes 08 connection, 40 rollback (serialization, deadlock), 53 resources (connections, disk, memory), 57 operator
    // intervention (shutdown, statement_timeout), 58 system.
    ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
        // lock_not_available; the end of an idle transaction and of a long one; a server that became read-only.
        || ["55P03", "25P03", "25P04", "25006"].contains(&code)
}

/// Says whether somebody may only not have come so far yet as to make the role, its password, the database, or the grants:
/// while a platform is being installed these come one after the other. Later it is a mistake, of an operator's and in no
/// row.
pub fn may_be_set_up_later(error: &sqlx::Error) -> bool {
    // invalid_authorization_specification, invalid_password, invalid_catalog_name, insufficient_privilege.
    let states = ["28000", "28P01", "3D000", "42501"];
    error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code)
        .is_some_and(|code| states.contains(&&*code))
}

/// Turns an error of a statement into what the caller is told: to call again (UNAVAILABLE with the reason
/// `DEPENDENCY_UNAVAILABLE`), or an incident. Neither says why; the log does.
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

#[cfg(test)]
mod tests {
    use super::is_transient_state;

    #[test]
    fn states_that_pass() {
        for passes in [
            "08006", "40001", "40P01", "53100", "53200", "53300", "57014", "57P01", "57P02", "57P03",
            "58030", "55P03", "25P03", "25P04", "25006",
        ] {
            assert!(is_transient_state(passes), "{passes}");
        }
        for stays in
            ["22001", "23505", "23514", "25P02", "28P01", "42601", "42P01", "P0001", "XX000", "XX001"]
        {
            assert!(!is_transient_state(stays), "{stays}");
        }
    }
}
