//! Promotions.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::{MerchantId, PromotionId};
use tael_money::{Currency, Money};
use uuid::Uuid;

use super::currency;
use crate::domain::promotion::{Offer, Promotion};

struct PromotionRow {
    merchant_id: Uuid,
    promotion_id: Uuid,
    name: String,
    currency: String,
    threshold_minor: i64,
    saving_minor: i64,
    create_time: jiff_sqlx::Timestamp,
    end_time: Option<jiff_sqlx::Timestamp>,
    fingerprint: Vec<u8>,
}

/// Reads whole rows; the columns are listed here and nowhere else.
macro_rules! rows {
    ($before:literal, $after:literal, $($arguments:tt)*) => {
        sqlx::query_as!(
            PromotionRow,
            $before
                + " merchant_id, promotion_id, name, currency, threshold_minor, saving_minor, create_time, end_time,
                    fingerprint "
                + $after,
            $($arguments)*
        )
    };
}

impl TryFrom<PromotionRow> for Promotion {
    type Error = sqlx::Error;

    fn try_from(row: PromotionRow) -> Result<Self, sqlx::Error> {
        let id = PromotionId::from_uuid(row.promotion_id);
        let currency = currency("promotion", id, &row.currency)?;
        Ok(Self {
            id,
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            name: row.name,
            threshold: Money::new(row.threshold_minor, currency),
            saving: Money::new(row.saving_minor, currency),
            create_time: row.create_time.to_jiff(),
            end_time: row.end_time.map(jiff_sqlx::Timestamp::to_jiff),
        })
    }
}

/// Inserts a promotion unless its idempotency key was used; says whether it did.
#[tracing::instrument(name = "db.promotion.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    promotion: &Promotion,
    key: &IdempotencyKey,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "insert into promotion (merchant_id, promotion_id, name, currency, threshold_minor, saving_minor,
                                create_time, idempotency_key, fingerprint)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict (merchant_id, idempotency_key) do nothing",
        promotion.merchant_id.uuid(),
        promotion.id.uuid(),
        promotion.name,
        promotion.saving.currency().code(),
        promotion.threshold.minor(),
        promotion.saving.minor(),
        promotion.create_time.to_sqlx() as _,
        key.key,
        key.fingerprint,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns the promotion that was started under an idempotency key, and that request's fingerprint.
#[tracing::instrument(name = "db.promotion.by_key", skip_all)]
pub(crate) async fn by_key(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<(Promotion, Vec<u8>)>, sqlx::Error> {
    let row = rows!(
        "select",
        "from promotion where merchant_id = $1 and idempotency_key = $2",
        merchant_id.uuid(),
        key,
    )
    .fetch_optional(conn)
    .await?;
    let Some(mut row) = row else { return Ok(None) };
    let fingerprint = std::mem::take(&mut row.fingerprint);
    Ok(Some((row.try_into()?, fingerprint)))
}

/// Returns what a merchant's promotions offer in a currency now.
#[tracing::instrument(name = "db.promotion.offers", skip_all)]
pub(crate) async fn offers(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    currency: Currency,
) -> Result<Vec<Offer>, sqlx::Error> {
    let rows = sqlx::query!(
        "select promotion_id, threshold_minor, saving_minor from promotion
         where merchant_id = $1 and currency = $2 and end_time is null",
        merchant_id.uuid(),
        currency.code(),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Offer {
            id: PromotionId::from_uuid(row.promotion_id),
            threshold: Money::new(row.threshold_minor, currency),
            saving: Money::new(row.saving_minor, currency),
        })
        .collect())
}

/// Returns at most `limit` promotions, newest first, after the one given.
#[tracing::instrument(name = "db.promotion.list", skip_all)]
pub(crate) async fn list(
    pool: &PgPool,
    merchant_id: MerchantId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Promotion>, sqlx::Error> {
    let rows = rows!(
        "select",
        "from promotion where merchant_id = $1 and promotion_id < $2 order by promotion_id desc limit $3",
        merchant_id.uuid(),
        after.unwrap_or(Uuid::max()),
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(Promotion::try_from).collect()
}

/// Ends a promotion, unless it ended before, and returns it as it is now.
#[tracing::instrument(name = "db.promotion.end", skip_all)]
pub(crate) async fn end(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: PromotionId,
    now: Timestamp,
) -> Result<Option<Promotion>, sqlx::Error> {
    rows!(
        "update promotion set end_time = coalesce(end_time, $3) where merchant_id = $1 and promotion_id = $2 returning",
        "",
        merchant_id.uuid(),
        id.uuid(),
        now.to_sqlx() as _,
    )
    .fetch_optional(pool)
    .await?
    .map(Promotion::try_from)
    .transpose()
}
