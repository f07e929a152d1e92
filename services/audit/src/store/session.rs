//! The audit's session: facts side by side in temporary tables, and the statements that compare them.
//!
//! Memory stays constant however much there is: a page is held at a time, the rest is PostgreSQL's, which spills to disk.
//! The session has a connection of its own, outside of the pool, without the pool's limit on how long a statement may
//! take. No transaction is open while other services are asked: a page is one statement. What a statement finds is kept in the
//! session by the statement itself, which makes it a writer for the seconds that it runs; only readers of this service's
//! own log notice, a little later.

mod checks;
mod tables;

use std::error::Error;
use std::str::FromStr;

use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use jiff_sqlx::ToSqlx as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, PgPool, Row as _};
use tael_proto::audit::v1::{DisagreementKind, Fact, FactKind};
use tael_proto::payment::v1::StatementLine;

use self::tables::FactTable;
use crate::domain::statement::{StatementDay, StatementOwner};

/// Something on which two records do not agree.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// A `DisagreementKind`.
    pub(crate) kind: i32,
    pub(crate) merchant_id: String,
    pub(crate) ids: Vec<String>,
    pub(crate) detail: String,
    pub(crate) currency: Option<String>,
    pub(crate) expected: Option<i64>,
    pub(crate) actual: Option<i64>,
}

/// The kinds of disagreements that an audit looks for; some more than once.
pub(crate) fn kinds() -> impl Iterator<Item = DisagreementKind> {
    checks::all().map(|check| check.kind)
}

/// One audit's place to compare.
#[derive(Debug)]
pub(crate) struct Session {
    conn: PgConnection,
}

impl Session {
    /// Opens the session; its tables vanish with it.
    pub(crate) async fn open(pool: &PgPool, stuck_before: Timestamp) -> Result<Self, sqlx::Error> {
        let mut conn = pool.acquire().await?.detach();
        // Compiling a comparison takes longer than making it over a page or two, and the tables are new each time.
        conn.execute("set statement_timeout = 0; set jit = off").await?;
        conn.execute(AssertSqlSafe(tables::create())).await?;
        sqlx::query("insert into audit_setting values ($1)")
            .bind(stuck_before.to_sqlx())
            .execute(&mut conn)
            .await?;
        Ok(Self { conn })
    }

    /// Closes the session. If it cannot say farewell to the server, it is gone all the same.
    pub(crate) async fn close(self) {
        drop(self.conn.close().await);
    }

    /// Begins a pass: forgets the facts of the one before.
    pub(crate) async fn clear(&mut self) -> Result<(), sqlx::Error> {
        self.conn.execute(AssertSqlSafe(tables::clear())).await.map(drop)
    }

    /// Takes a page of facts of one kind that a service told.
    #[tracing::instrument(name = "db.audit.stage", skip_all)]
    pub(crate) async fn stage(
        &mut self,
        kind: FactKind,
        service: &str,
        facts: &[Fact],
    ) -> Result<(), sqlx::Error> {
        let Some(table) = FactTable::of(kind) else { return Ok(()) };
        let mut rows = tables::Rows::default();
        for fact in facts {
            rows.fact(service, fact);
        }
        self.insert(table.insert(), rows).await
    }

    /// Takes a part of a seller's statement of a day.
    #[tracing::instrument(name = "db.audit.stage_statement", skip_all)]
    pub(crate) async fn stage_statement(
        &mut self,
        owner: &StatementOwner,
        day: StatementDay,
        lines: &[StatementLine],
    ) -> Result<(), sqlx::Error> {
        let mut rows = tables::Rows::default();
        for line in lines {
            rows.statement_line(owner, day, line);
        }
        self.insert(tables::insert_statement_lines(), rows).await
    }

    async fn insert(&mut self, statement: String, rows: tables::Rows) -> Result<(), sqlx::Error> {
        sqlx::query(AssertSqlSafe(statement)).bind(rows.into_rows()).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Notes that a statement was read to its end, and returns how many lines it has; `over` when nothing more can come
    /// into it. With a line that can't be read it does not count as complete: nothing is missed in it.
    pub(crate) async fn statement_read(
        &mut self,
        owner: &StatementOwner,
        day: StatementDay,
        over: bool,
    ) -> Result<u64, sqlx::Error> {
        let lines: i64 = sqlx::query_scalar(
            "with line as (
                 select count(*) as lines, count(*) filter (where kind = 'unreadable') as unreadable
                 from audit_statement_line where owner = $2 and day = $3
             ), noted as (
                 insert into audit_statement_day
                 select $1, $2, $3, $4, $5, $6 and unreadable = 0, null from line
             )
             select lines from line",
        )
        .bind(owner.merchant_id())
        .bind(&owner.key)
        .bind(day.date.to_sqlx())
        .bind(day.begin.to_sqlx())
        .bind(day.end.to_sqlx())
        .bind(over)
        .fetch_one(&mut self.conn)
        .await?;
        Ok(lines.cast_unsigned())
    }

    /// Notes that a statement could not be read, and why.
    pub(crate) async fn statement_unread(
        &mut self,
        owner: &StatementOwner,
        day: StatementDay,
        problem: &str,
    ) -> Result<(), sqlx::Error> {
        sqlx::query("insert into audit_statement_day values ($1, $2, $3, $4, $5, false, $6)")
            .bind(owner.merchant_id())
            .bind(&owner.key)
            .bind(day.date.to_sqlx())
            .bind(day.begin.to_sqlx())
            .bind(day.end.to_sqlx())
            .bind(problem)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// Takes back what was staged of a statement that broke off.
    pub(crate) async fn forget_statement(
        &mut self,
        owner: &StatementOwner,
        day: StatementDay,
    ) -> Result<(), sqlx::Error> {
        sqlx::query("delete from audit_statement_line where owner = $1 and day = $2")
            .bind(&owner.key)
            .bind(day.date.to_sqlx())
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// Returns the sellers after one who have statements, in the order of their keys.
    pub(crate) async fn statement_owners(
        &mut self,
        after: &str,
        limit: i64,
    ) -> Result<Vec<StatementOwner>, sqlx::Error> {
        let rows = sqlx::query(
            r#"select (channel || ':' || statement_owner) collate "C" as key, min(time_zone),
                      array_agg(merchant_id order by channel_account_id),
                      array_agg(channel_account_id order by channel_account_id)
               from audit_channel_account
               where channel || ':' || statement_owner > $1
               group by channel, statement_owner order by key limit $2"#,
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&mut self.conn)
        .await?;
        rows.into_iter()
            .map(|row| {
                let time_zone: String = row.try_get(1)?;
                let (merchants, accounts): (Vec<String>, Vec<String>) = (row.try_get(2)?, row.try_get(3)?);
                let accounts = merchants.into_iter().zip(accounts).map(|(merchant, account)| {
                    Ok((parsed("merchant_id", &merchant)?, parsed("channel_account_id", &account)?))
                });
                Ok(StatementOwner {
                    key: row.try_get(0)?,
                    time_zone: TimeZone::get(&time_zone).map_err(|e| undecodable("time_zone", e))?,
                    accounts: accounts.collect::<Result<_, sqlx::Error>>()?,
                })
            })
            .collect()
    }

    /// Makes all comparisons and returns how many disagreements they found.
    #[tracing::instrument(name = "db.audit.compare", skip_all)]
    pub(crate) async fn compare(&mut self) -> Result<u64, sqlx::Error> {
        self.conn.execute(AssertSqlSafe(tables::analyze())).await?;
        let mut found = 0;
        for check in checks::all() {
            // Both parts are constants of this module.
            let sql =
                format!("insert into audit_found select {}, f.* from ({}) f", check.kind as i32, check.sql);
            found += self.conn.execute(AssertSqlSafe(sql)).await?.rows_affected();
        }
        Ok(found)
    }

    /// Makes what the first pass found the candidates.
    pub(crate) async fn begin_candidates(&mut self) -> Result<(), sqlx::Error> {
        self.conn.execute("insert into audit_candidate select * from audit_found").await.map(drop)
    }

    /// Keeps of the candidates what this pass found again, with the same amounts. Returns how many were dropped.
    #[tracing::instrument(name = "db.audit.narrow", skip_all)]
    pub(crate) async fn narrow_candidates(&mut self) -> Result<u64, sqlx::Error> {
        let dropped = self
            .conn
            .execute(
                "delete from audit_candidate c where not exists (
                     select from audit_found f
                     where f.kind = c.kind and f.ids = c.ids and f.merchant_id is not distinct from c.merchant_id
                       and (f.currency, f.expected, f.actual) is not distinct from (c.currency, c.expected, c.actual))",
            )
            .await?;
        Ok(dropped.rows_affected())
    }

    /// Streams the candidates, by kind and merchant.
    pub(crate) fn candidates(&mut self) -> BoxStream<'_, Result<Found, sqlx::Error>> {
        let rows = sqlx::query(
            "select kind, coalesce(merchant_id, ''), ids, coalesce(detail, ''), currency, expected, actual
             from audit_candidate order by kind, merchant_id, ids",
        )
        .fetch(&mut self.conn);
        Box::pin(rows.and_then(|row| async move {
            Ok(Found {
                kind: row.try_get(0)?,
                merchant_id: row.try_get(1)?,
                ids: row.try_get(2)?,
                detail: row.try_get(3)?,
                currency: row.try_get(4)?,
                expected: row.try_get(5)?,
                actual: row.try_get(6)?,
            })
        }))
    }

    /// Counts attempts and refunds without a final state.
    pub(crate) async fn in_flight(&mut self) -> Result<u64, sqlx::Error> {
        let count: i64 = sqlx::query_scalar(
            "select (select count(*) from audit_attempt where state in ('initiated', 'pending'))
                  + (select count(*) from audit_payment_refund where state = 'pending')
                  + (select count(*) from audit_refund where state in ('pending_approval', 'processing'))",
        )
        .fetch_one(&mut self.conn)
        .await?;
        Ok(count.cast_unsigned())
    }
}

fn parsed<T: FromStr<Err: Error + Send + Sync + 'static>>(
    column: &str,
    text: &str,
) -> Result<T, sqlx::Error> {
    text.parse().map_err(|error| undecodable(column, error))
}

/// What a service told of its accounts makes no sense: it breaks its contract.
fn undecodable(column: &str, source: impl Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: Box::new(source) }
}
