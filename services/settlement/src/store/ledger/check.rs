//! Adding up the whole ledger.

use sqlx::PgConnection;
use tael_ids::{AccountId, TransferId};
use tael_money::{Currency, Money};
use uuid::Uuid;

use crate::store::parse_currency;

/// How many bad ids are reported.
const LIMIT: i64 = 100;

/// What the check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LedgerCheck {
    pub(crate) sums: Vec<CurrencySum>,
    pub(crate) transfer_count: u64,
    pub(crate) unbalanced: Vec<TransferId>,
    pub(crate) wrong_accounts: Vec<AccountId>,
}

/// All entries of a currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CurrencySum {
    pub(crate) debits: Money,
    pub(crate) credits: Money,
}

/// Adds up everything as it stood at one moment, in a transaction that was just begun.
#[tracing::instrument(name = "db.ledger.check", skip_all)]
pub(crate) async fn check(conn: &mut PgConnection) -> Result<LedgerCheck, sqlx::Error> {
    // One snapshot for all sums, and more patience than for ordinary statements: the whole ledger is read.
    sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *conn).await?;
    sqlx::query("set local statement_timeout = '30s'").execute(&mut *conn).await?;
    Ok(LedgerCheck {
        sums: sums(&mut *conn).await?,
        transfer_count: transfer_count(&mut *conn).await?,
        unbalanced: unbalanced(&mut *conn).await?,
        wrong_accounts: wrong_accounts(&mut *conn).await?,
    })
}

async fn sums(conn: &mut PgConnection) -> Result<Vec<CurrencySum>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select currency,
                  coalesce(sum(amount_minor) filter (where direction = 'debit'), 0)::bigint as "debits!",
                  coalesce(sum(amount_minor) filter (where direction = 'credit'), 0)::bigint as "credits!"
           from entry group by currency order by currency"#,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let currency: Currency = parse_currency("entry", Uuid::nil(), &row.currency)?;
            Ok(CurrencySum {
                debits: Money::new(row.debits, currency),
                credits: Money::new(row.credits, currency),
            })
        })
        .collect()
}

async fn transfer_count(conn: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from transfer"#).fetch_one(conn).await?;
    Ok(count.cast_unsigned())
}

/// Transfers whose entries differ per side in a currency, or that have none.
async fn unbalanced(conn: &mut PgConnection) -> Result<Vec<TransferId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"select distinct t.transfer_id
           from transfer t
           left join (
               select merchant_id, transfer_id, currency,
                      sum(case direction when 'debit' then amount_minor else -amount_minor end) as difference
               from entry group by merchant_id, transfer_id, currency
           ) e using (merchant_id, transfer_id)
           where e.difference is distinct from 0
           limit $1"#,
        LIMIT,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(TransferId::from_uuid).collect())
}

/// Accounts whose sums are not those of their entries.
async fn wrong_accounts(conn: &mut PgConnection) -> Result<Vec<AccountId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        r#"select a.account_id
           from account a
           left join (
               select merchant_id, account_id,
                      sum(amount_minor) filter (where direction = 'debit') as debits,
                      sum(amount_minor) filter (where direction = 'credit') as credits
               from entry group by merchant_id, account_id
           ) e using (merchant_id, account_id)
           where a.debits_minor <> coalesce(e.debits, 0) or a.credits_minor <> coalesce(e.credits, 0)
           limit $1"#,
        LIMIT,
    )
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(AccountId::from_uuid).collect())
}
