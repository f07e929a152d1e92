//! SQL: rows become domain values here and nowhere else.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::{ApiKeyId, MerchantId};
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use crate::domain::api_key::ApiKey;
use crate::domain::merchant::{Merchant, State};

struct MerchantRow {
    merchant_id: Uuid,
    name: String,
    state: String,
    time_zone: String,
    create_time: jiff_sqlx::Timestamp,
    approve_time: Option<jiff_sqlx::Timestamp>,
}

impl TryFrom<MerchantRow> for Merchant {
    type Error = InconsistentRow;

    fn try_from(row: MerchantRow) -> Result<Self, InconsistentRow> {
        let id = MerchantId::from_uuid(row.merchant_id);
        let state = match (row.state.as_str(), row.approve_time) {
            ("pending_approval", None) => State::PendingApproval,
            ("approved", Some(at)) => State::Approved { at: at.to_jiff() },
            (state, approve_time) => {
                return Err(InconsistentRow {
                    table: "merchant",
                    column: "state",
                    row: id.to_string(),
                    problem: format!("{state:?} with approve_time {approve_time:?}"),
                });
            }
        };
        Ok(Self {
            id,
            name: row.name,
            state,
            time_zone: row.time_zone,
            create_time: row.create_time.to_jiff(),
        })
    }
}

/// Inserts a merchant unless its idempotency key was used; says whether it did.
#[tracing::instrument(name = "db.merchant.insert", skip_all)]
pub(crate) async fn insert_merchant(
    conn: &mut PgConnection,
    merchant: &Merchant,
    guard: &IdempotencyKey,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "insert into merchant (merchant_id, name, state, time_zone, create_time, idempotency_key, fingerprint)
         values ($1, $2, 'pending_approval', $3, $4, $5, $6)
         on conflict (idempotency_key) do nothing",
        merchant.id.uuid(),
        merchant.name,
        merchant.time_zone,
        merchant.create_time.to_sqlx() as _,
        guard.key,
        guard.fingerprint,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns the merchant that was registered under an idempotency key, and the request's fingerprint.
#[tracing::instrument(name = "db.merchant.by_key", skip_all)]
pub(crate) async fn merchant_by_key(
    conn: &mut PgConnection,
    key: &str,
) -> Result<Option<(Merchant, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select merchant_id, name, state, time_zone, create_time, approve_time, fingerprint
         from merchant where idempotency_key = $1",
        key
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let merchant = MerchantRow {
        merchant_id: row.merchant_id,
        name: row.name,
        state: row.state,
        time_zone: row.time_zone,
        create_time: row.create_time,
        approve_time: row.approve_time,
    };
    Ok(Some((merchant.try_into()?, row.fingerprint)))
}

/// Returns a merchant.
#[tracing::instrument(name = "db.merchant.get", skip_all)]
pub(crate) async fn merchant(pool: &PgPool, id: MerchantId) -> Result<Option<Merchant>, sqlx::Error> {
    sqlx::query_as!(
        MerchantRow,
        "select merchant_id, name, state, time_zone, create_time, approve_time from merchant where merchant_id = $1",
        id.uuid()
    )
    .fetch_optional(pool)
    .await?
    .map(Merchant::try_from)
    .transpose()
    .map_err(Into::into)
}

/// Returns a merchant and keeps others from changing it until the transaction ends.
#[tracing::instrument(name = "db.merchant.lock", skip_all)]
pub(crate) async fn lock_merchant(
    conn: &mut PgConnection,
    id: MerchantId,
) -> Result<Option<Merchant>, sqlx::Error> {
    sqlx::query_as!(
        MerchantRow,
        "select merchant_id, name, state, time_zone, create_time, approve_time
         from merchant where merchant_id = $1 for update",
        id.uuid()
    )
    .fetch_optional(conn)
    .await?
    .map(Merchant::try_from)
    .transpose()
    .map_err(Into::into)
}

/// Approves a merchant that is pending approval; says whether it was.
#[tracing::instrument(name = "db.merchant.approve", skip_all)]
pub(crate) async fn approve_merchant(
    conn: &mut PgConnection,
    id: MerchantId,
    at: Timestamp,
) -> Result<bool, sqlx::Error> {
    let updated = sqlx::query!(
        "update merchant set state = 'approved', approve_time = $2
         where merchant_id = $1 and state = 'pending_approval'",
        id.uuid(),
        at.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// Returns at most `limit` merchants, newest first, after the one given.
#[tracing::instrument(name = "db.merchant.list", skip_all)]
pub(crate) async fn merchants(
    pool: &PgPool,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Merchant>, sqlx::Error> {
    let rows = sqlx::query_as!(
        MerchantRow,
        "select merchant_id, name, state, time_zone, create_time, approve_time from merchant
         where $1::uuid is null or merchant_id < $1 order by merchant_id desc limit $2",
        after,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| row.try_into().map_err(sqlx::Error::from)).collect()
}

struct ApiKeyRow {
    merchant_id: Uuid,
    api_key_id: Uuid,
    label: String,
    create_time: jiff_sqlx::Timestamp,
    revoke_time: Option<jiff_sqlx::Timestamp>,
}

impl From<ApiKeyRow> for ApiKey {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            id: ApiKeyId::from_uuid(row.api_key_id),
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            label: row.label,
            create_time: row.create_time.to_jiff(),
            revoke_time: row.revoke_time.map(jiff_sqlx::Timestamp::to_jiff),
        }
    }
}

/// Inserts an API key unless its idempotency key was used; says whether it did.
#[tracing::instrument(name = "db.api_key.insert", skip_all)]
pub(crate) async fn insert_api_key(
    conn: &mut PgConnection,
    key: &ApiKey,
    secret_hash: &[u8],
    guard: &IdempotencyKey,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "insert into api_key (merchant_id, api_key_id, label, secret_hash, create_time, idempotency_key, fingerprint)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (merchant_id, idempotency_key) do nothing",
        key.merchant_id.uuid(),
        key.id.uuid(),
        key.label,
        secret_hash,
        key.create_time.to_sqlx() as _,
        guard.key,
        guard.fingerprint,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns the API key that was issued under an idempotency key, and the request's fingerprint.
#[tracing::instrument(name = "db.api_key.by_key", skip_all)]
pub(crate) async fn api_key_by_key(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<(ApiKey, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select merchant_id, api_key_id, label, create_time, revoke_time, fingerprint
         from api_key where merchant_id = $1 and idempotency_key = $2",
        merchant_id.uuid(),
        key,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| {
        let key = ApiKeyRow {
            merchant_id: row.merchant_id,
            api_key_id: row.api_key_id,
            label: row.label,
            create_time: row.create_time,
            revoke_time: row.revoke_time,
        };
        (key.into(), row.fingerprint)
    }))
}

/// Returns the API key, not revoked, whose secret has this hash.
#[tracing::instrument(name = "db.api_key.find", skip_all)]
pub(crate) async fn valid_api_key(pool: &PgPool, secret_hash: &[u8]) -> Result<Option<ApiKey>, sqlx::Error> {
    let row = sqlx::query_as!(
        ApiKeyRow,
        "select merchant_id, api_key_id, label, create_time, revoke_time
         from api_key where secret_hash = $1 and revoke_time is null",
        secret_hash,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(Into::into))
}

/// Revokes an API key, unless it was revoked before, and returns it as it is now.
#[tracing::instrument(name = "db.api_key.revoke", skip_all)]
pub(crate) async fn revoke_api_key(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: ApiKeyId,
    at: Timestamp,
) -> Result<Option<ApiKey>, sqlx::Error> {
    let row = sqlx::query_as!(
        ApiKeyRow,
        "update api_key set revoke_time = coalesce(revoke_time, $3)
         where merchant_id = $1 and api_key_id = $2
         returning merchant_id, api_key_id, label, create_time, revoke_time",
        merchant_id.uuid(),
        id.uuid(),
        at.to_sqlx() as _,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(Into::into))
}
