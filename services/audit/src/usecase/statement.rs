//! The channels' statements, staged beside the facts.
//!
//! Several sellers' statements are read at once, each within a time of its own: one that can't be read is named and holds
//! up nobody else's. What was staged of a statement that broke off is taken back, for nothing may be concluded from it.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use jiff::{Timestamp, ToSpan as _};
use tael_proto::payment::v1::StatementLine;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::AuditError;
use super::money_audit::Summary;
use crate::clients::{StatementClient, StatementError};
use crate::domain::money_audit::Scope;
use crate::domain::statement::{StatementDay, StatementOwner};
use crate::store::session::Session;

/// How many sellers are held at a time.
const OWNERS: i64 = 500;
/// How many sellers' statements are read at once.
const READERS: usize = 4;
/// All statements of one seller together may take so many times as long as one. A channel that does not answer takes no
/// more of an audit.
const STATEMENTS_PER_OWNER: u32 = 2;
/// So many parts of statements wait to be staged; then the readers wait.
const AHEAD: usize = 8;
/// So many days before today have their statements compared unless it is said which: what is found in a statement is found
/// again until that day is past, and an alert about it must outlast a weekend.
const DAYS: i32 = 4;

/// What comes of reading a seller's statement of one day.
enum Part {
    Lines(Vec<StatementLine>),
    /// It was read to its end.
    Read,
    NotAvailable,
    /// What was read of it by one account does not count; another account is tried.
    BrokeOff,
    /// No account could read it.
    Unread(String),
}

type Parts = mpsc::Sender<(Arc<StatementOwner>, StatementDay, Part)>;

/// Reads the statements of all sellers and days.
pub(crate) async fn stage(
    client: &StatementClient,
    session: &mut Session,
    scope: &Scope,
    now: Timestamp,
    summary: &mut Summary,
) -> Result<(), AuditError> {
    let mut after = String::new();
    loop {
        let owners = session.statement_owners(&after, OWNERS).await?;
        let Some(last) = owners.last() else { return Ok(()) };
        after.clone_from(&last.key);
        let (parts, received) = mpsc::channel(AHEAD);
        let reading = async move {
            let mut ends = stream::iter(owners)
                .map(|owner| read_all(client, Arc::new(owner), scope, now, parts.clone()))
                .buffer_unordered(READERS);
            while let Some(end) = ends.next().await {
                end?;
            }
            Ok(())
        };
        let staging = stage_parts(session, scope, now, summary, received);
        tokio::try_join!(reading, staging)?;
    }
}

/// Reads a seller's statements day by day. An error only when the payment service itself can't be asked.
async fn read_all(
    client: &StatementClient,
    owner: Arc<StatementOwner>,
    scope: &Scope,
    now: Timestamp,
    parts: Parts,
) -> Result<(), AuditError> {
    let today = now.to_zoned(owner.time_zone.clone()).date();
    let last = scope.last_statement_date.unwrap_or(today);
    let first = match scope.first_statement_date {
        Some(date) => date,
        None => today.checked_sub(DAYS.days())?,
    };
    let end = Instant::now() + client.timeout * STATEMENTS_PER_OWNER;
    for day in StatementDay::between(first, last, &owner.time_zone)? {
        let part = match timeout_at(end, read_by_any(client, &owner, day, &parts)).await {
            Ok(Ok(())) => Part::Read,
            Ok(Err(StatementError::NotAvailable)) => Part::NotAvailable,
            Ok(Err(StatementError::Unread(problem))) => Part::Unread(problem),
            Ok(Err(StatementError::Peer(error))) => return Err(error.into()),
            Err(_elapsed) => Part::Unread("the seller's statements together took too long".to_owned()),
        };
        send(&parts, &owner, day, part).await;
    }
    Ok(())
}

/// Reads a statement by the first account that can.
async fn read_by_any(
    client: &StatementClient,
    owner: &Arc<StatementOwner>,
    day: StatementDay,
    parts: &Parts,
) -> Result<(), StatementError> {
    let mut problem = String::new();
    for &(merchant_id, account) in &owner.accounts {
        let lines = async {
            let mut statement = client.read(merchant_id, account, day.date).await?;
            while let Some(lines) = statement.next().await? {
                send(parts, owner, day, Part::Lines(lines)).await;
            }
            Ok(())
        };
        match lines.await {
            Err(StatementError::Unread(why)) => {
                send(parts, owner, day, Part::BrokeOff).await;
                problem = format!("{account}: {why}");
            }
            end => return end,
        }
    }
    Err(StatementError::Unread(problem))
}

async fn send(parts: &Parts, owner: &Arc<StatementOwner>, day: StatementDay, part: Part) {
    // Nobody takes it when staging failed, which ends the audit.
    drop(parts.send((Arc::clone(owner), day, part)).await);
}

/// Stages what the readers bring until all are done.
async fn stage_parts(
    session: &mut Session,
    scope: &Scope,
    now: Timestamp,
    summary: &mut Summary,
    mut parts: mpsc::Receiver<(Arc<StatementOwner>, StatementDay, Part)>,
) -> Result<(), AuditError> {
    while let Some((owner, day, part)) = parts.recv().await {
        match part {
            Part::Lines(lines) => session.stage_statement(&owner, day, &lines).await?,
            Part::Read => {
                let over = scope.statements_so_far || day.end <= now;
                summary.statement_lines += session.statement_read(&owner, day, over).await?;
                summary.statement_days += 1;
            }
            Part::NotAvailable => summary.statement_days_not_available += 1,
            Part::BrokeOff => session.forget_statement(&owner, day).await?,
            Part::Unread(problem) => {
                session.forget_statement(&owner, day).await?;
                session.statement_unread(&owner, day, &problem).await?;
                summary.statement_days_unread += 1;
            }
        }
    }
    Ok(())
}
