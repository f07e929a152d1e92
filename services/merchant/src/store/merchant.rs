//! Merchants.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::MerchantId;
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use crate::domain::merchant::{Merchant, State};

/// Selects whole merchants: `query_merchants!(rest, arguments…)`, the rest being what follows `select … from merchant`.
macro_rules! query_merchants {
    ($rest:literal, $($arguments:tt)*) => {
        sqlx::query_as!(
            MerchantRow,
            "select merchant_id, name, state, time_zone, create_time, approve_time from merchant " + $rest,
            $($arguments)*
        )
    };
}

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
pub(crate) async fn insert(
    conn: &mut PgConnection,
    merchant: &Merchant,
    key: &IdempotencyKey,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "insert into merchant (merchant_id, name, state, time_zone, create_time, idempotency_key, fingerprint)
         values ($1, $2, 'pending_approval', $3, $4, $5, $6)
         on conflict (idempotency_key) do nothing",
        merchant.id.uuid(),
        merchant.name,
        merchant.time_zone,
        merchant.create_time.to_sqlx() as _,
        key.key,
        key.fingerprint,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns the merchant that was registered under an idempotency key, and the request's fingerprint.
#[tracing::instrument(name = "db.merchant.by_key", skip_all)]
pub(crate) async fn by_key(
    conn: &mut PgConnection,
    key: &str,
) -> Result<Option<(Merchant, Vec<u8>)>, sqlx::Error> {
    let row = query_merchants!("where idempotency_key = $1", key).fetch_optional(&mut *conn).await?;
    let Some(row) = row else { return Ok(None) };
    let fingerprint =
        sqlx::query_scalar!("select fingerprint from merchant where merchant_id = $1", row.merchant_id)
            .fetch_one(conn)
            .await?;
    Ok(Some((row.try_into()?, fingerprint)))
}

/// Returns a merchant.
#[tracing::instrument(name = "db.merchant.get", skip_all)]
pub(crate) async fn get(pool: &PgPool, id: MerchantId) -> Result<Option<Merchant>, sqlx::Error> {
    query_merchants!("where merchant_id = $1", id.uuid())
        .fetch_optional(pool)
        .await?
        .map(Merchant::try_from)
        .transpose()
        .map_err(Into::into)
}

/// Returns a merchant and keeps others from changing it until the transaction ends.
#[tracing::instrument(name = "db.merchant.lock", skip_all)]
pub(crate) async fn lock(conn: &mut PgConnection, id: MerchantId) -> Result<Option<Merchant>, sqlx::Error> {
    query_merchants!("where merchant_id = $1 for update", id.uuid())
        .fetch_optional(conn)
        .await?
        .map(Merchant::try_from)
        .transpose()
        .map_err(Into::into)
}

/// Approves a merchant that is pending approval; says whether it was.
#[tracing::instrument(name = "db.merchant.approve", skip_all)]
pub(crate) async fn approve(
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
pub(crate) async fn list(
    pool: &PgPool,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Merchant>, sqlx::Error> {
    let rows = query_merchants!(
        "where $1::uuid is null or merchant_id < $1 order by merchant_id desc limit $2",
        after,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| row.try_into().map_err(sqlx::Error::from)).collect()
}
