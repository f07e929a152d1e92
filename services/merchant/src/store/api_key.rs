//! API keys.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::{ApiKeyId, MerchantId};
use uuid::Uuid;

use crate::domain::api_key::ApiKey;

/// Reads whole API keys: the columns stand between the two parts.
macro_rules! query_api_keys {
    ($before:literal + $after:literal, $($arguments:tt)*) => {
        sqlx::query_as!(
            ApiKeyRow,
            $before + "merchant_id, api_key_id, label, create_time, revoke_time" + $after,
            $($arguments)*
        )
    };
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
pub(crate) async fn insert(
    conn: &mut PgConnection,
    key: &ApiKey,
    secret_hash: &[u8],
    idempotency_key: &IdempotencyKey,
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
        idempotency_key.key,
        idempotency_key.fingerprint,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns the API key that was issued under an idempotency key, and the request's fingerprint.
#[tracing::instrument(name = "db.api_key.by_key", skip_all)]
pub(crate) async fn by_key(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<(ApiKey, Vec<u8>)>, sqlx::Error> {
    let row = query_api_keys!(
        "select " + " from api_key where merchant_id = $1 and idempotency_key = $2",
        merchant_id.uuid(),
        key,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let fingerprint = sqlx::query_scalar!(
        "select fingerprint from api_key where merchant_id = $1 and api_key_id = $2",
        row.merchant_id,
        row.api_key_id,
    )
    .fetch_one(conn)
    .await?;
    Ok(Some((row.into(), fingerprint)))
}

/// Returns the API key, not revoked, whose secret has this hash.
#[tracing::instrument(name = "db.api_key.find", skip_all)]
pub(crate) async fn valid(pool: &PgPool, secret_hash: &[u8]) -> Result<Option<ApiKey>, sqlx::Error> {
    let row = query_api_keys!(
        "select " + " from api_key where secret_hash = $1 and revoke_time is null",
        secret_hash,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(Into::into))
}

/// Revokes an API key, unless it was revoked before, and returns it as it is now.
#[tracing::instrument(name = "db.api_key.revoke", skip_all)]
pub(crate) async fn revoke(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: ApiKeyId,
    at: Timestamp,
) -> Result<Option<ApiKey>, sqlx::Error> {
    let row = query_api_keys!(
        "update api_key set revoke_time = coalesce(revoke_time, $3)
         where merchant_id = $1 and api_key_id = $2 returning "
            + "",
        merchant_id.uuid(),
        id.uuid(),
        at.to_sqlx() as _,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(Into::into))
}
