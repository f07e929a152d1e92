//! Webhook endpoints.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::{MerchantId, WebhookEndpointId};
use uuid::Uuid;

use crate::domain::webhook_endpoint::WebhookEndpoint;

struct EndpointRow {
    merchant_id: Uuid,
    webhook_endpoint_id: Uuid,
    url: String,
    event_type: Vec<String>,
    create_time: jiff_sqlx::Timestamp,
    disable_time: Option<jiff_sqlx::Timestamp>,
}

/// A statement that returns [`EndpointRow`]s: what stands before their columns, and what after.
macro_rules! query_endpoints {
    ($before:tt, $after:tt, $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            EndpointRow,
            $before
                + " merchant_id, webhook_endpoint_id, url, event_type, create_time, disable_time "
                + $after,
            $($argument),*
        )
    };
}

impl From<EndpointRow> for WebhookEndpoint {
    fn from(row: EndpointRow) -> Self {
        Self {
            id: WebhookEndpointId::from_uuid(row.webhook_endpoint_id),
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            url: row.url,
            event_types: row.event_type,
            create_time: row.create_time.to_jiff(),
            disable_time: row.disable_time.map(jiff_sqlx::Timestamp::to_jiff),
        }
    }
}

/// Inserts an endpoint unless its idempotency key was used; says whether it did.
#[tracing::instrument(name = "db.webhook_endpoint.insert", skip_all)]
pub(crate) async fn insert(
    pool: &PgPool,
    endpoint: &WebhookEndpoint,
    sealed_secret: &[u8],
    guard: &IdempotencyKey,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "insert into webhook_endpoint
             (merchant_id, webhook_endpoint_id, url, event_type, sealed_secret, create_time, idempotency_key,
              fingerprint)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (merchant_id, idempotency_key) do nothing",
        endpoint.merchant_id.uuid(),
        endpoint.id.uuid(),
        endpoint.url,
        &endpoint.event_types,
        sealed_secret,
        endpoint.create_time.to_sqlx() as _,
        guard.key,
        guard.fingerprint,
    )
    .execute(pool)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// An endpoint as it was created.
pub(crate) struct Created {
    pub(crate) endpoint: WebhookEndpoint,
    pub(crate) sealed_secret: Vec<u8>,
    /// Of the request that created it.
    pub(crate) fingerprint: Vec<u8>,
}

/// Returns the endpoint that was created under an idempotency key.
#[tracing::instrument(name = "db.webhook_endpoint.by_key", skip_all)]
pub(crate) async fn by_key(
    pool: &PgPool,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<Created>, sqlx::Error> {
    let row = query_endpoints!(
        "select",
        "from webhook_endpoint where merchant_id = $1 and idempotency_key = $2",
        merchant_id.uuid(),
        key,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let created = sqlx::query!(
        "select sealed_secret, fingerprint from webhook_endpoint
         where merchant_id = $1 and webhook_endpoint_id = $2",
        row.merchant_id,
        row.webhook_endpoint_id,
    )
    .fetch_one(pool)
    .await?;
    Ok(Some(Created {
        endpoint: row.into(),
        sealed_secret: created.sealed_secret,
        fingerprint: created.fingerprint,
    }))
}

/// Returns a merchant's endpoints, newest first, those after an id if one is given.
#[tracing::instrument(name = "db.webhook_endpoint.list", skip_all)]
pub(crate) async fn list(
    pool: &PgPool,
    merchant_id: MerchantId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<WebhookEndpoint>, sqlx::Error> {
    let rows = query_endpoints!(
        "select",
        "from webhook_endpoint
         where merchant_id = $1 and ($2::uuid is null or webhook_endpoint_id < $2)
         order by webhook_endpoint_id desc limit $3",
        merchant_id.uuid(),
        after,
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(WebhookEndpoint::from).collect())
}

/// Disables an endpoint unless it is disabled, and returns it; none when there is no such endpoint. Its pending
/// deliveries are no longer due.
#[tracing::instrument(name = "db.webhook_endpoint.disable", skip_all)]
pub(crate) async fn disable(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: WebhookEndpointId,
    now: Timestamp,
) -> Result<Option<WebhookEndpoint>, sqlx::Error> {
    let row = query_endpoints!(
        "update webhook_endpoint set disable_time = coalesce(disable_time, $3)
         where merchant_id = $1 and webhook_endpoint_id = $2
         returning",
        "",
        merchant_id.uuid(),
        id.uuid(),
        now.to_sqlx() as _,
    )
    .fetch_optional(&mut *conn)
    .await?;
    // A statement of its own: deliveries that were made while the row's lock was waited for are seen, too.
    sqlx::query!(
        "update delivery set next_attempt_time = null
         where merchant_id = $1 and webhook_endpoint_id = $2 and state = 'pending'",
        merchant_id.uuid(),
        id.uuid(),
    )
    .execute(conn)
    .await?;
    Ok(row.map(WebhookEndpoint::from))
}

/// An active endpoint's name and filter.
pub(crate) struct Active {
    pub(crate) merchant_id: MerchantId,
    pub(crate) id: WebhookEndpointId,
    pub(crate) event_types: Vec<String>,
}

/// Returns the active endpoints of these merchants, and keeps them from being disabled until the transaction ends.
#[tracing::instrument(name = "db.webhook_endpoint.active", skip_all)]
pub(crate) async fn active(conn: &mut PgConnection, merchants: &[Uuid]) -> Result<Vec<Active>, sqlx::Error> {
    let rows = sqlx::query!(
        "select merchant_id, webhook_endpoint_id, event_type from webhook_endpoint
         where merchant_id = any($1) and disable_time is null
         order by merchant_id, webhook_endpoint_id
         for share",
        merchants,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Active {
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            id: WebhookEndpointId::from_uuid(row.webhook_endpoint_id),
            event_types: row.event_type,
        })
        .collect())
}
