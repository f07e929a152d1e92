//! Sessions on PostgreSQL that get in the services' way.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::time::Instant;

use crate::Error;
use crate::processes::Service;

/// How many sessions are opened at most to take all connections.
const SESSIONS: usize = 400;

/// A transaction that has written and does not end: readers of the event log may not pass it.
pub async fn open_transaction(url: &str, time: Duration) -> Result<(), Error> {
    let mut session = PgConnection::connect(url).await?;
    let mut transaction = session.begin().await?;
    sqlx::query("select pg_current_xact_id()").execute(&mut *transaction).await?;
    tokio::time::sleep(time).await;
    transaction.rollback().await?;
    Ok(())
}

/// Locks rows of the service's hottest table in the opposite order of everybody else, so that there are waits, and now
/// and then a deadlock, which PostgreSQL ends by failing one of the two.
pub async fn lock_rows(service: Service, url: &str, time: Duration) -> Result<(), Error> {
    let (table, key) = match service {
        Service::Merchant => ("merchant", "merchant_id"),
        Service::Order => ("orders", "order_id"),
        Service::Payment => ("payment", "payment_id"),
        Service::Refund => ("refund_order", "order_id"),
        Service::Settlement => ("account", "account_id"),
        Service::Notification => ("delivery", "delivery_id"),
        Service::Audit => ("money_audit", "money_audit_id"),
        Service::Gateway => return Ok(()),
    };
    let mut session = PgConnection::connect(url).await?;
    let mut transaction = session.begin().await?;
    // The newest first, then older ones: the names are ours.
    for (limit, offset) in [(1, 0), (40, 1)] {
        let sql = format!("select from {table} order by {key} desc limit {limit} offset {offset} for update");
        if sqlx::query(AssertSqlSafe(sql)).execute(&mut *transaction).await.is_err() {
            return Ok(()); // the deadlock's loser was this session
        }
        tokio::time::sleep(time / 2).await;
    }
    transaction.rollback().await?;
    Ok(())
}

/// Lets PostgreSQL refuse every new row of the service's busiest table as it does when the disk has no room for it. (A disk
/// that really is full would stop every service at once, and could not be had without mounting one.)
pub async fn fill_disk(service: Service, url: &str, time: Duration) -> Result<(), Error> {
    let table = if service == Service::Notification { "delivery" } else { "event_log" };
    let full = format!(
        "create or replace function disk_is_full() returns trigger language plpgsql as $$
         begin
             raise exception 'could not extend file: No space left on device' using errcode = 'disk_full';
         end $$;
         create or replace trigger disk_is_full before insert on {table}
             for each statement execute function disk_is_full()"
    );
    let room = format!("drop trigger if exists disk_is_full on {table}");
    let mut session = PgConnection::connect(url).await?;
    // Behind a transaction that was left open it would hold up everybody else.
    sqlx::raw_sql("set lock_timeout = '1s'").execute(&mut session).await?;
    sqlx::raw_sql(AssertSqlSafe(full)).execute(&mut session).await?;
    tokio::time::sleep(time).await;
    // Whatever happens to PostgreSQL meanwhile.
    while sqlx::raw_sql(AssertSqlSafe(room.clone())).execute(&mut session).await.is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if let Ok(new) = PgConnection::connect(url).await {
            session = new;
        }
    }
    Ok(())
}

/// Takes every connection that PostgreSQL has, and each that becomes free meanwhile.
pub async fn take_connections(url: &str, time: Duration, all_taken: impl FnOnce()) -> Result<(), Error> {
    let end = Instant::now() + time;
    let mut sessions = Vec::new();
    let mut all_taken = Some(all_taken);
    while Instant::now() < end {
        match PgConnection::connect(url).await {
            Ok(session) if sessions.len() < SESSIONS => sessions.push(session),
            Ok(_) => return Err("PostgreSQL has more connections than expected".into()),
            Err(_) => {
                if let Some(all_taken) = all_taken.take() {
                    all_taken();
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    for session in sessions {
        let _ = session.close().await;
    }
    Ok(())
}
