//! How the last comparisons ended, for those who watch.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgPool;

use crate::domain::channel::Channel;

/// The last comparisons of a channel's bills, one for each account and day.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    pub(crate) channel: String,
    /// When the newest was made; none when there is none.
    pub(crate) last_time: Option<Timestamp>,
    /// A kind of difference, and how many lines of all of them have it.
    pub(crate) kind: String,
    pub(crate) breaks: u64,
}

/// Counts the differences of the last comparison of each bill of this day or later: those of a day stay until its bill is
/// compared anew, whatever that of the next one says. Every channel and kind of difference is told, also if there is none.
#[tracing::instrument(name = "db.reconciliation.metrics", level = "debug", skip_all)]
pub(crate) async fn compared(pool: &PgPool, from: Date) -> Result<Vec<Compared>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with last as (
               select distinct on (merchant_id, channel_account_id, bill_date)
                      merchant_id, reconciliation_id, channel, create_time
               from reconciliation
               where state = 'done' and bill_date >= $1
               order by merchant_id, channel_account_id, bill_date, create_time desc
           ), newest as (
               select channel, max(create_time) as last_time from last group by channel
           ), found as (
               select l.channel, b.kind, count(*) as breaks
               from last l join reconciliation_break b
                    on b.merchant_id = l.merchant_id and b.reconciliation_id = l.reconciliation_id
               group by l.channel, b.kind
           )
           select c.channel as "channel!", n.last_time as "last_time?", k.kind as "kind!",
                  coalesce(f.breaks, 0) as "breaks!"
           from unnest($2::text[]) as c (channel)
                cross join unnest(array['missing_in_ledger', 'missing_in_bill', 'amount', 'received', 'fee',
                                         'unreadable']) as k (kind)
                left join newest n on n.channel = c.channel
                left join found f on f.channel = c.channel and f.kind = k.kind"#,
        from.to_sqlx() as _,
        &Channel::ALL.map(Channel::name) as _,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Compared {
            channel: row.channel,
            last_time: row.last_time.map(jiff_sqlx::Timestamp::to_jiff),
            kind: row.kind,
            breaks: row.breaks.unsigned_abs(),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use tael_ids::{ChannelAccountId, MerchantId, ReconciliationId};
    use tael_testkit::TestDatabase;

    use super::*;

    async fn database() -> (TestDatabase, PgPool) {
        let database = TestDatabase::create().await;
        let pool = database.pool();
        tael_postgres::migrate(&pool, &sqlx::migrate!()).await.unwrap();
        (database, pool)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A comparison that ended, with so many lines that the ledger lacks.
    async fn compare(
        pool: &PgPool,
        account: (MerchantId, ChannelAccountId),
        day: &str,
        second: i64,
        breaks: i64,
    ) {
        let id = ReconciliationId::new();
        sqlx::query(
            "insert into reconciliation (merchant_id, reconciliation_id, channel_account_id, channel, bill_date, state,
                                         create_time, bill_lines, matched, break_count, idempotency_key, fingerprint)
             values ($1, $2, $3, 'alipay', $4::date, 'done', $5, $6, 0, $6, $2::text, '')",
        )
        .bind(account.0.uuid())
        .bind(id.uuid())
        .bind(account.1.uuid())
        .bind(day.parse::<Date>().unwrap().to_sqlx())
        .bind(at(second).to_sqlx())
        .bind(breaks)
        .execute(pool)
        .await
        .unwrap();
        sqlx::query(
            "insert into reconciliation_break (merchant_id, reconciliation_id, position, kind, number, bill_currency,
                                               bill_amount_minor, bill_fee_minor)
             select $1, $2, n, 'missing_in_ledger', n::text, 'CNY', 1, 0 from generate_series(1, $3) as n",
        )
        .bind(account.0.uuid())
        .bind(id.uuid())
        .bind(breaks)
        .execute(pool)
        .await
        .unwrap();
    }

    /// What is told of November.
    async fn told(pool: &PgPool) -> Vec<(String, String, u64, Option<Timestamp>)> {
        let told = compared(pool, "2026-11-01".parse().unwrap()).await.unwrap();
        let mut told: Vec<_> =
            told.into_iter().map(|told| (told.channel, told.kind, told.breaks, told.last_time)).collect();
        told.sort();
        told
    }

    #[tokio::test]
    async fn of_each_bill_the_last_comparison_counts() {
        let (_database, pool) = database().await;
        let expected = |missing, last_time| {
            let kinds = [
                ("amount", 0),
                ("fee", 0),
                ("missing_in_bill", 0),
                ("missing_in_ledger", missing),
                ("received", 0),
                ("unreadable", 0),
            ];
            kinds.map(|(kind, breaks)| ("alipay".to_owned(), kind.to_owned(), breaks, last_time))
        };
        assert_eq!(told(&pool).await, expected(0, None));

        let [one, other] = std::array::from_fn(|_| (MerchantId::new(), ChannelAccountId::new()));
        compare(&pool, one, "2026-11-19", 100, 3).await;
        // The next day agrees; that mends nothing.
        compare(&pool, one, "2026-11-20", 200, 0).await;
        assert_eq!(told(&pool).await, expected(3, Some(at(200))));
        // Another account's is added, and its own of long ago is not.
        compare(&pool, other, "2026-11-20", 300, 5).await;
        compare(&pool, other, "2026-10-31", 400, 7).await;
        assert_eq!(told(&pool).await, expected(8, Some(at(300))));
        // Compared anew.
        compare(&pool, other, "2026-11-20", 500, 2).await;
        assert_eq!(told(&pool).await, expected(5, Some(at(500))));
        compare(&pool, one, "2026-11-19", 600, 0).await;
        assert_eq!(told(&pool).await, expected(2, Some(at(600))));
    }
}
