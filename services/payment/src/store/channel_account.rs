//! Tables `channel_account` and `channel_credential`, and the list of channels.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::{ChannelAccountId, ChannelCredentialId, MerchantId};
use uuid::Uuid;

use super::unknown;
use crate::domain::channel_account::{AccountState, ChannelAccount, ChannelName};

struct AccountRow {
    merchant_id: Uuid,
    channel_account_id: Uuid,
    channel: String,
    label: String,
    identity: Value,
    state: String,
    create_time: jiff_sqlx::Timestamp,
}

impl TryFrom<AccountRow> for ChannelAccount {
    type Error = tael_postgres::InconsistentRow;

    fn try_from(row: AccountRow) -> Result<Self, Self::Error> {
        let id = ChannelAccountId::from_uuid(row.channel_account_id);
        let state = AccountState::from_name(&row.state)
            .ok_or_else(|| unknown("channel_account", "state", &id.to_string(), &row.state))?;
        Ok(Self {
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            id,
            channel: ChannelName::new(&row.channel),
            label: row.label,
            identity: row.identity,
            state,
            create_time: row.create_time.to_jiff(),
        })
    }
}

/// Selects accounts. Those that the build before made have no identity but its columns.
macro_rules! select_accounts {
    ($rest:literal, $($arg:tt)*) => {
        sqlx::query_as!(
            AccountRow,
            r#"select merchant_id, channel_account_id, channel, label, state, create_time,
                      coalesce(identity, jsonb_build_object('app_id', app_id, 'seller_id', seller_id, 'gateway_url',
                                                            gateway_url)) as "identity!"
               from channel_account "# + $rest,
            $($arg)*
        )
    };
}

/// Adds the channels that this build has adapters for to those that rows may name.
#[tracing::instrument(name = "db.channel.register", skip_all)]
pub(crate) async fn register_channels(pool: &PgPool, names: &[String]) -> Result<(), sqlx::Error> {
    sqlx::query!("insert into channel select unnest($1::text[]) on conflict do nothing", names)
        .execute(pool)
        .await?;
    Ok(())
}

/// Inserts an account, with its first credential, unless its idempotency key was used; says whether it did.
#[tracing::instrument(name = "db.channel_account.insert", skip_all)]
pub(crate) async fn insert(
    pool: &PgPool,
    account: &ChannelAccount,
    sealed_keys: &[u8],
    guard: &IdempotencyKey,
) -> Result<bool, sqlx::Error> {
    // A trigger makes the credential. The three columns are for the build before.
    let inserted = sqlx::query!(
        "insert into channel_account (merchant_id, channel_account_id, channel, label, identity, state, app_id, seller_id,
                                      gateway_url, sealed_keys, create_time, idempotency_key, fingerprint)
         values ($1, $2, $3, $4, $5, $6, $5::jsonb ->> 'app_id', $5::jsonb ->> 'seller_id',
                 $5::jsonb ->> 'gateway_url', $7, $8, $9, $10)
         on conflict (merchant_id, idempotency_key) do nothing",
        account.merchant_id.uuid(),
        account.id.uuid(),
        account.channel.as_str(),
        account.label,
        account.identity,
        account.state.name(),
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

/// Returns an account, whosever it is: for callbacks, and for opening it.
#[tracing::instrument(name = "db.channel_account.find", skip_all)]
pub(crate) async fn find(pool: &PgPool, id: ChannelAccountId) -> Result<Option<ChannelAccount>, sqlx::Error> {
    select_accounts!("where channel_account_id = $1", id.uuid())
        .fetch_optional(pool)
        .await?
        .map(ChannelAccount::try_from)
        .transpose()
        .map_err(Into::into)
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

/// Sets an account's state. To be active it must have a tested credential in use; says whether that is so.
#[tracing::instrument(name = "db.channel_account.set_state", skip_all)]
pub(crate) async fn set_state(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: ChannelAccountId,
    state: AccountState,
) -> Result<bool, sqlx::Error> {
    let updated = sqlx::query!(
        "update channel_account a set state = $3
         where merchant_id = $1 and channel_account_id = $2
           and ($3 <> 'active' or exists (
               select 1 from channel_credential c
               where c.merchant_id = a.merchant_id and c.channel_account_id = a.channel_account_id
                 and c.test_time is not null and c.retire_time is null))",
        merchant_id.uuid(),
        id.uuid(),
        state.name(),
    )
    .execute(pool)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// What is known of a credential, without its keys.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credential {
    pub(crate) account_id: ChannelAccountId,
    pub(crate) id: ChannelCredentialId,
    pub(crate) create_time: Timestamp,
    pub(crate) expire_time: Option<Timestamp>,
    pub(crate) test_time: Option<Timestamp>,
    pub(crate) retire_time: Option<Timestamp>,
}

/// A credential that may be used.
#[derive(Debug)]
pub(crate) struct SealedCredential {
    pub(crate) id: ChannelCredentialId,
    pub(crate) sealed_keys: Vec<u8>,
}

/// Returns the credentials of an account that are in use now, best to sign with first: tested before untested, and the
/// newest before the older.
#[tracing::instrument(name = "db.channel_credential.usable", skip_all)]
pub(crate) async fn usable_credentials(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: ChannelAccountId,
    now: Timestamp,
) -> Result<Vec<SealedCredential>, sqlx::Error> {
    let rows = sqlx::query!(
        "select credential_id, sealed_keys from channel_credential
         where merchant_id = $1 and channel_account_id = $2 and retire_time is null
           and (expire_time is null or expire_time > $3)
         order by test_time is null, create_time desc, credential_id desc",
        merchant_id.uuid(),
        id.uuid(),
        now.to_sqlx() as _,
    )
    .fetch_all(pool)
    .await?;
    let credential =
        |id, sealed_keys| SealedCredential { id: ChannelCredentialId::from_uuid(id), sealed_keys };
    Ok(rows.into_iter().map(|row| credential(row.credential_id, row.sealed_keys)).collect())
}

/// Returns what is known of the credentials of accounts, newest first.
#[tracing::instrument(name = "db.channel_credential.list", skip_all)]
pub(crate) async fn credentials(
    pool: &PgPool,
    merchant_id: MerchantId,
    accounts: &[Uuid],
) -> Result<Vec<Credential>, sqlx::Error> {
    let rows = sqlx::query!(
        "select channel_account_id, credential_id, create_time, expire_time, test_time, retire_time
         from channel_credential where merchant_id = $1 and channel_account_id = any($2)
         order by create_time desc, credential_id desc",
        merchant_id.uuid(),
        accounts,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Credential {
            account_id: ChannelAccountId::from_uuid(row.channel_account_id),
            id: ChannelCredentialId::from_uuid(row.credential_id),
            create_time: row.create_time.to_jiff(),
            expire_time: row.expire_time.map(jiff_sqlx::Timestamp::to_jiff),
            test_time: row.test_time.map(jiff_sqlx::Timestamp::to_jiff),
            retire_time: row.retire_time.map(jiff_sqlx::Timestamp::to_jiff),
        })
        .collect())
}

/// Inserts a credential unless its idempotency key was used; says whether it did.
#[tracing::instrument(name = "db.channel_credential.insert", skip_all)]
pub(crate) async fn insert_credential(
    pool: &PgPool,
    merchant_id: MerchantId,
    credential: &Credential,
    sealed_keys: &[u8],
    guard: &IdempotencyKey,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "insert into channel_credential (merchant_id, channel_account_id, credential_id, sealed_keys, create_time,
                                         expire_time, idempotency_key, fingerprint)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (merchant_id, idempotency_key) do nothing",
        merchant_id.uuid(),
        credential.account_id.uuid(),
        credential.id.uuid(),
        sealed_keys,
        credential.create_time.to_sqlx() as _,
        credential.expire_time.map(ToSqlx::to_sqlx) as _,
        guard.key,
        guard.fingerprint,
    )
    .execute(pool)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns the credential that was added under an idempotency key, and the request's fingerprint.
#[tracing::instrument(name = "db.channel_credential.by_key", skip_all)]
pub(crate) async fn credential_by_key(
    pool: &PgPool,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<(ChannelCredentialId, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select credential_id, fingerprint as "fingerprint!" from channel_credential
           where merchant_id = $1 and idempotency_key = $2"#,
        merchant_id.uuid(),
        key
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| (ChannelCredentialId::from_uuid(row.credential_id), row.fingerprint)))
}

/// Records that a call proved a credential; the first time counts.
#[tracing::instrument(name = "db.channel_credential.tested", skip_all)]
pub(crate) async fn tested(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: ChannelAccountId,
    credential_id: ChannelCredentialId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update channel_credential set test_time = $4
         where merchant_id = $1 and channel_account_id = $2 and credential_id = $3 and test_time is null",
        merchant_id.uuid(),
        id.uuid(),
        credential_id.uuid(),
        now.to_sqlx() as _,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Ends the use of a credential, if another one of the account is tested and in use; says whether that is so.
#[tracing::instrument(name = "db.channel_credential.retire", skip_all)]
pub(crate) async fn retire(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: ChannelAccountId,
    credential_id: ChannelCredentialId,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    // Two that are retired at once could each be the other's reason: the account's rows are locked first.
    let others = sqlx::query_scalar!(
        "select credential_id from channel_credential
         where merchant_id = $1 and channel_account_id = $2 and credential_id <> $3 and test_time is not null
           and retire_time is null and (expire_time is null or expire_time > $4)
         for update",
        merchant_id.uuid(),
        id.uuid(),
        credential_id.uuid(),
        now.to_sqlx() as _,
    )
    .fetch_all(&mut *conn)
    .await?;
    if others.is_empty() {
        return Ok(false);
    }
    sqlx::query!(
        "update channel_credential set retire_time = coalesce(retire_time, $4)
         where merchant_id = $1 and channel_account_id = $2 and credential_id = $3",
        merchant_id.uuid(),
        id.uuid(),
        credential_id.uuid(),
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(true)
}
