//! How the audits of everything ended, whichever replica made them.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgPool;
use uuid::Uuid;

/// How an audit of everything ended.
#[derive(Clone, Debug)]
pub(crate) struct AuditRun {
    pub(crate) end_time: Timestamp,
    /// A kind of disagreement, and how many there were; empty when all agreed.
    pub(crate) disagreements: Vec<(String, u64)>,
}

/// Keeps how an audit ended.
#[tracing::instrument(name = "db.money_audit.insert", skip_all)]
pub(crate) async fn insert(pool: &PgPool, id: Uuid, run: &AuditRun) -> Result<(), sqlx::Error> {
    let (kinds, counts): (Vec<String>, Vec<i64>) = run
        .disagreements
        .iter()
        .map(|(kind, count)| (kind.clone(), i64::try_from(*count).unwrap_or(i64::MAX)))
        .unzip();
    sqlx::query!(
        "insert into money_audit (money_audit_id, end_time, kinds, disagreements) values ($1, $2, $3, $4)",
        id,
        run.end_time.to_sqlx() as _,
        &kinds,
        &counts,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Returns how the last audit ended, and when the last one ended at which all agreed.
#[tracing::instrument(name = "db.money_audit.last", level = "debug", skip_all)]
pub(crate) async fn last(pool: &PgPool) -> Result<Option<(AuditRun, Option<Timestamp>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select end_time, kinds, disagreements,
                (select max(end_time) from money_audit where kinds = '{}') as last_clean
         from money_audit order by end_time desc limit 1"
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| {
        let counts = row.disagreements.into_iter().map(i64::unsigned_abs);
        let run = AuditRun {
            end_time: row.end_time.to_jiff(),
            disagreements: row.kinds.into_iter().zip(counts).collect(),
        };
        (run, row.last_clean.map(jiff_sqlx::Timestamp::to_jiff))
    }))
}

#[cfg(test)]
mod tests {
    use tael_testkit::TestDatabase;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[tokio::test]
    async fn the_last_is_told_and_when_the_last_clean_one_was() {
        let database = TestDatabase::create().await;
        let pool = database.pool();
        tael_postgres::migrate(&pool, &sqlx::migrate!()).await.unwrap();
        assert!(last(&pool).await.unwrap().is_none());

        let found = vec![("order_without_money".to_owned(), 2), ("orphan".to_owned(), 1)];
        let audits = [(100, found.clone(), None), (200, vec![], Some(200)), (300, found, Some(200))];
        for (end, disagreements, clean) in audits {
            let run = AuditRun { end_time: at(end), disagreements: disagreements.clone() };
            insert(&pool, tael_ids::EventId::new().uuid(), &run).await.unwrap();
            let (found, last_clean) = last(&pool).await.unwrap().unwrap();
            assert_eq!((found.end_time, found.disagreements), (at(end), disagreements));
            assert_eq!(last_clean, clean.map(at));
        }
    }
}
