//! Table `channel_account`.

use jiff_sqlx::ToSqlx as _;
use sqlx::PgPool;
use tael_idempotency::IdempotencyKey;
use tael_ids::{ChannelAccountId, MerchantId};
use uuid::Uuid;

use super::channel;
use crate::domain::channel_account::{AlipayIdentity, Channel, ChannelAccount, Identity};

struct AccountRow {
    merchant_id: Uuid,
    channel_account_id: Uuid,
    channel: String,
    label: String,
    app_id: String,
    seller_id: String,
    gateway_url: String,
    create_time: jiff_sqlx::Timestamp,
}

impl TryFrom<AccountRow> for ChannelAccount {
    type Error = tael_postgres::InconsistentRow;

    fn try_from(row: AccountRow) -> Result<Self, Self::Error> {
        let id = ChannelAccountId::from_uuid(row.channel_account_id);
        let identity = match channel("channel_account", &id.to_string(), &row.channel)? {
            Channel::Alipay => Identity::Alipay(AlipayIdentity {
                app_id: row.app_id,
                seller_id: row.seller_id,
                gateway_url: row.gateway_url,
            }),
        };
        Ok(Self {
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            id,
            label: row.label,
            identity,
            create_time: row.create_time.to_jiff(),
        })
    }
}

/// Selects accounts.
macro_rules! select_accounts {
    ($rest:literal, $($arg:tt)*) => {
        sqlx::query_as!(
            AccountRow,
            "select merchant_id, channel_account_id, channel, label, app_id, seller_id, gateway_url, create_time
             from channel_account " + $rest,
            $($arg)*
        )
    };
}

/// Inserts an account unless its idempotency key was used; says whether it did.
#[tracing::instrument(name = "db.channel_account.insert", skip_all)]
pub(crate) async fn insert(
    pool: &PgPool,
    account: &ChannelAccount,
    sealed_keys: &[u8],
    guard: &IdempotencyKey,
) -> Result<bool, sqlx::Error> {
    let Identity::Alipay(identity) = &account.identity;
    let inserted = sqlx::query!(
        "insert into channel_account (merchant_id, channel_account_id, channel, label, app_id, seller_id, gateway_url,
                                      sealed_keys, create_time, idempotency_key, fingerprint)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict (merchant_id, idempotency_key) do nothing",
        account.merchant_id.uuid(),
        account.id.uuid(),
        account.channel().name(),
        account.label,
        identity.app_id,
        identity.seller_id,
        identity.gateway_url,
        sealed_keys,
        account.create_time.to_sqlx() as _,
        guard.key,
        guard.fingerprint,
    )
    .execute(pool)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns the account that was made under an idempotency key, and the request's fingerprint.
#[tracing::instrument(name = "db.channel_account.by_key", skip_all)]
pub(crate) async fn by_key(
    pool: &PgPool,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<(ChannelAccount, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select channel_account_id, fingerprint from channel_account where merchant_id = $1 and idempotency_key = $2",
        merchant_id.uuid(),
        key
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let account = get(pool, merchant_id, ChannelAccountId::from_uuid(row.channel_account_id)).await?;
    Ok(account.map(|account| (account, row.fingerprint)))
}

/// Returns a merchant's account.
#[tracing::instrument(name = "db.channel_account.get", skip_all)]
pub(crate) async fn get(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: ChannelAccountId,
) -> Result<Option<ChannelAccount>, sqlx::Error> {
    select_accounts!("where merchant_id = $1 and channel_account_id = $2", merchant_id.uuid(), id.uuid())
        .fetch_optional(pool)
        .await?
        .map(ChannelAccount::try_from)
        .transpose()
        .map_err(Into::into)
}

/// Returns an account with its sealed keys, whosever it is: for callbacks, and for opening it.
#[tracing::instrument(name = "db.channel_account.with_keys", skip_all)]
pub(crate) async fn with_keys(
    pool: &PgPool,
    id: ChannelAccountId,
) -> Result<Option<(ChannelAccount, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select merchant_id, channel_account_id, channel, label, app_id, seller_id, gateway_url, create_time,
                sealed_keys
         from channel_account where channel_account_id = $1",
        id.uuid()
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let account = AccountRow {
        merchant_id: row.merchant_id,
        channel_account_id: row.channel_account_id,
        channel: row.channel,
        label: row.label,
        app_id: row.app_id,
        seller_id: row.seller_id,
        gateway_url: row.gateway_url,
        create_time: row.create_time,
    };
    Ok(Some((account.try_into()?, row.sealed_keys)))
}

/// Returns at most `limit` of a merchant's accounts, newest first, after the one given.
#[tracing::instrument(name = "db.channel_account.list", skip_all)]
pub(crate) async fn list(
    pool: &PgPool,
    merchant_id: MerchantId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<ChannelAccount>, sqlx::Error> {
    let rows = select_accounts!(
        "where merchant_id = $1 and ($2::uuid is null or channel_account_id < $2)
         order by channel_account_id desc limit $3",
        merchant_id.uuid(),
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| row.try_into().map_err(Into::into)).collect()
}
