//! The audit's session: facts side by side in temporary tables, and the statements that compare them.
//!
//! Memory stays constant however much there is: a page is held at a time, the rest is PostgreSQL's, which spills to disk.
//! The session has a connection of its own, outside of the pool, without the pool's limit on how long a statement may
//! take. No transaction is open while other services are asked: a page is one statement. What a statement finds is kept in the
//! session by the statement itself, which makes it a writer for the seconds that it runs; only readers of this service's
//! own log notice, a little later.

mod checks;
mod tables;

use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{Connection as _, Executor as _, PgConnection, PgPool, Row as _};
use tael_proto::audit::v1::{Fact, FactKind};
use tael_proto::settlement::v1::DisagreementKind;

use crate::domain::reconciliation::{ChannelStatementLine, StatementDay};

/// A channel account whose bills are to be read.
#[derive(Clone, Debug)]
pub(crate) struct BilledAccount {
    pub(crate) merchant_id: String,
    pub(crate) channel_account_id: String,
    pub(crate) channel: String,
}

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
        conn.execute("set statement_timeout = 0").await?;
        conn.execute(tables::CREATE).await?;
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
        self.conn.execute(tables::CLEAR).await.map(drop)
    }

    /// Takes a page of facts of one kind that a service told.
    #[tracing::instrument(name = "db.audit.stage", skip_all)]
    pub(crate) async fn stage(
        &mut self,
        kind: FactKind,
        service: &str,
        facts: &[Fact],
    ) -> Result<(), sqlx::Error> {
        let Some(statement) = tables::insert_statement(kind) else { return Ok(()) };
        let mut rows = tables::Rows::default();
        for fact in facts {
            rows.fact(service, fact);
        }
        self.insert(statement, rows).await
    }

    /// Takes a part of a bill.
    #[tracing::instrument(name = "db.audit.stage_bill", skip_all)]
    pub(crate) async fn stage_bill(
        &mut self,
        account: &BilledAccount,
        lines: &[ChannelStatementLine],
    ) -> Result<(), sqlx::Error> {
        let mut rows = tables::Rows::default();
        for line in lines {
            rows.bill_line(&account.merchant_id, &account.channel_account_id, line);
        }
        self.insert(tables::INSERT_BILL_LINES, rows).await
    }

    async fn insert(&mut self, statement: &'static str, rows: tables::Rows) -> Result<(), sqlx::Error> {
        sqlx::query(statement).bind(rows.into_rows()).execute(&mut self.conn).await?;
        Ok(())
    }

    /// Notes that a bill was read to its end; `complete` when nothing more can come into it.
    pub(crate) async fn bill_read(
        &mut self,
        account: &BilledAccount,
        day: &StatementDay,
        complete: bool,
    ) -> Result<(), sqlx::Error> {
        sqlx::query("insert into audit_bill_day values ($1, $2, $3, $4, $5)")
            .bind(&account.merchant_id)
            .bind(&account.channel_account_id)
            .bind(day.begin.to_sqlx())
            .bind(day.end.to_sqlx())
            .bind(complete)
            .execute(&mut self.conn)
            .await?;
        Ok(())
    }

    /// Returns the channel accounts after one, in the order of their ids.
    pub(crate) async fn channel_accounts(
        &mut self,
        after: &str,
        limit: i64,
    ) -> Result<Vec<BilledAccount>, sqlx::Error> {
        let rows = sqlx::query(
            "select merchant_id, channel_account_id, channel from audit_channel_account
             where channel_account_id > $1 order by channel_account_id limit $2",
        )
        .bind(after)
        .bind(limit)
        .fetch_all(&mut self.conn)
        .await?;
        rows.into_iter()
            .map(|row| {
                Ok(BilledAccount {
                    merchant_id: row.try_get(0)?,
                    channel_account_id: row.try_get(1)?,
                    channel: row.try_get(2)?,
                })
            })
            .collect()
    }

    /// Makes all comparisons and returns how many disagreements they found.
    #[tracing::instrument(name = "db.audit.compare", skip_all)]
    pub(crate) async fn compare(&mut self) -> Result<u64, sqlx::Error> {
        self.conn.execute(tables::ANALYZE).await?;
        let mut found = 0;
        for check in checks::all() {
            // Both parts are constants of this module.
            let sql =
                format!("insert into audit_found select {}, f.* from ({}) f", check.kind as i32, check.sql);
            found += self.conn.execute(sqlx::AssertSqlSafe(sql)).await?.rows_affected();
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
