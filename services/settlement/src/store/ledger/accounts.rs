//! Ledger accounts.
//!
//! Lock order: whoever locks several accounts locks them by merchant and account id, in one statement ([`lock`]), and
//! has no other account locked; accounts are created ([`create`]) before any is locked. The one exception: closing a
//! batch first locks the merchant's payout account, which nobody else ever waits for while holding an account.

use std::collections::HashMap;

use sqlx::{PgConnection, PgPool};
use tael_ids::{AccountId, MerchantId};
use tael_money::Money;
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use crate::domain::channel::Channel;
use crate::domain::ledger::account::{Account, AccountKey, AccountKind};
use crate::store::{inconsistent, parse_currency};

/// What a batch of postings adds to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) merchant_id: MerchantId,
    pub(crate) account_id: AccountId,
    pub(crate) debits_minor: i64,
    pub(crate) credits_minor: i64,
}

/// Stored where an account stands for no channel.
const NO_CHANNEL: &str = "";

struct AccountRow {
    merchant_id: Uuid,
    account_id: Uuid,
    kind: String,
    channel: String,
    currency: String,
    debits_minor: i64,
    credits_minor: i64,
}

impl TryFrom<AccountRow> for Account {
    type Error = InconsistentRow;

    fn try_from(row: AccountRow) -> Result<Self, InconsistentRow> {
        let key = read_key(row.merchant_id, row.account_id, &row.kind, &row.channel, &row.currency)?;
        Ok(Self {
            id: AccountId::from_uuid(row.account_id),
            key,
            debits: Money::new(row.debits_minor, key.currency),
            credits: Money::new(row.credits_minor, key.currency),
        })
    }
}

fn read_key(
    merchant_id: Uuid,
    id: Uuid,
    kind: &str,
    channel: &str,
    currency: &str,
) -> Result<AccountKey, InconsistentRow> {
    Ok(AccountKey {
        merchant_id: MerchantId::from_uuid(merchant_id),
        kind: AccountKind::from_name(kind).ok_or_else(|| inconsistent("account", "kind", id, kind))?,
        channel: match channel {
            NO_CHANNEL => None,
            name => Some(
                Channel::from_name(name).ok_or_else(|| inconsistent("account", "channel", id, channel))?,
            ),
        },
        currency: parse_currency("account", id, currency)?,
    })
}

/// Keys as the columns of an unnest.
struct Columns {
    merchants: Vec<Uuid>,
    kinds: Vec<&'static str>,
    channels: Vec<&'static str>,
    currencies: Vec<&'static str>,
}

impl Columns {
    fn of(keys: &[AccountKey]) -> Self {
        Self {
            merchants: keys.iter().map(|key| key.merchant_id.uuid()).collect(),
            kinds: keys.iter().map(|key| key.kind.name()).collect(),
            channels: keys.iter().map(|key| key.channel.map_or(NO_CHANNEL, Channel::name)).collect(),
            currencies: keys.iter().map(|key| key.currency.code()).collect(),
        }
    }
}

/// Returns the ids of those of the accounts that exist.
#[tracing::instrument(name = "db.account.find", skip_all)]
pub(crate) async fn find(
    conn: &mut PgConnection,
    keys: &[AccountKey],
) -> Result<HashMap<AccountKey, AccountId>, sqlx::Error> {
    let columns = Columns::of(keys);
    let rows = sqlx::query!(
        "select a.merchant_id, a.account_id, a.kind, a.channel, a.currency
         from unnest($1::uuid[], $2::text[], $3::text[], $4::text[]) as k (merchant_id, kind, channel, currency)
         join account a using (merchant_id, kind, channel, currency)",
        &columns.merchants,
        &columns.kinds as _,
        &columns.channels as _,
        &columns.currencies as _,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let key = read_key(row.merchant_id, row.account_id, &row.kind, &row.channel, &row.currency)?;
            Ok((key, AccountId::from_uuid(row.account_id)))
        })
        .collect()
}

/// Creates accounts, with nothing on them, unless they exist. In the order of their keys, so that two transactions
/// that create the same ones wait for each other in one direction only.
#[tracing::instrument(name = "db.account.create", skip_all)]
pub(crate) async fn create(conn: &mut PgConnection, keys: &[AccountKey]) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = keys.iter().map(|_| AccountId::new().uuid()).collect();
    let columns = Columns::of(keys);
    sqlx::query!(
        "insert into account (merchant_id, account_id, kind, channel, currency)
         select merchant_id, account_id, kind, channel, currency
         from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[])
             as k (merchant_id, account_id, kind, channel, currency)
         order by merchant_id, kind, channel, currency
         on conflict on constraint account_identity do nothing",
        &columns.merchants,
        &ids,
        &columns.kinds as _,
        &columns.channels as _,
        &columns.currencies as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks accounts until the end of the transaction, in the lock order above.
#[tracing::instrument(name = "db.account.lock", skip_all)]
pub(crate) async fn lock(
    conn: &mut PgConnection,
    accounts: &[(MerchantId, AccountId)],
) -> Result<(), sqlx::Error> {
    let merchants: Vec<Uuid> = accounts.iter().map(|(merchant, _)| merchant.uuid()).collect();
    let ids: Vec<Uuid> = accounts.iter().map(|(_, account)| account.uuid()).collect();
    let locked = sqlx::query!(
        r#"select a.account_id
           from account a
           join unnest($1::uuid[], $2::uuid[]) as k (merchant_id, account_id) using (merchant_id, account_id)
           order by a.merchant_id, a.account_id
           for no key update of a"#,
        &merchants,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    demand(locked.len(), accounts.len())
}

/// Adds to accounts that are locked: one update per account, whatever the number of postings behind it.
#[tracing::instrument(name = "db.account.add", skip_all)]
pub(crate) async fn add(conn: &mut PgConnection, sums: &[Sums]) -> Result<(), sqlx::Error> {
    let merchants: Vec<Uuid> = sums.iter().map(|s| s.merchant_id.uuid()).collect();
    let ids: Vec<Uuid> = sums.iter().map(|s| s.account_id.uuid()).collect();
    let debits: Vec<i64> = sums.iter().map(|s| s.debits_minor).collect();
    let credits: Vec<i64> = sums.iter().map(|s| s.credits_minor).collect();
    let updated = sqlx::query!(
        "update account a
         set debits_minor = a.debits_minor + s.debits_minor, credits_minor = a.credits_minor + s.credits_minor
         from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[])
             as s (merchant_id, account_id, debits_minor, credits_minor)
         where a.merchant_id = s.merchant_id and a.account_id = s.account_id",
        &merchants,
        &ids,
        &debits,
        &credits,
    )
    .execute(conn)
    .await?;
    demand(usize::try_from(updated.rows_affected()).unwrap_or(usize::MAX), sums.len())
}

/// Accounts never vanish: as many rows as were asked for, or the transaction must not go on.
fn demand(rows: usize, expected: usize) -> Result<(), sqlx::Error> {
    if rows == expected { Ok(()) } else { Err(sqlx::Error::RowNotFound) }
}

/// Returns all of a merchant's accounts.
#[tracing::instrument(name = "db.account.list", skip_all)]
pub(crate) async fn of_merchant(pool: &PgPool, merchant_id: MerchantId) -> Result<Vec<Account>, sqlx::Error> {
    let rows = sqlx::query_as!(
        AccountRow,
        "select merchant_id, account_id, kind, channel, currency, debits_minor, credits_minor
         from account where merchant_id = $1",
        merchant_id.uuid(),
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| row.try_into().map_err(sqlx::Error::from)).collect()
}
