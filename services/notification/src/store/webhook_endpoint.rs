//! Webhook endpoints.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::{MerchantId, WebhookEndpointId};
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use crate::domain::webhook_endpoint::{DisableReason, State, WebhookEndpoint};

struct EndpointRow {
    merchant_id: Uuid,
    webhook_endpoint_id: Uuid,
    url: String,
    event_type: Vec<String>,
    create_time: jiff_sqlx::Timestamp,
    disable_time: Option<jiff_sqlx::Timestamp>,
    disable_reason: Option<String>,
    pause_end_time: Option<jiff_sqlx::Timestamp>,
    failures: i32,
}

/// A statement that returns [`EndpointRow`]s: what stands before their columns, and what after.
macro_rules! query_endpoints {
    ($before:tt, $after:tt, $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            EndpointRow,
            $before
                + " merchant_id, webhook_endpoint_id, url, event_type, create_time, disable_time, disable_reason,
                    pause_end_time, failures "
                + $after,
            $($argument),*
        )
    };
}

impl TryFrom<EndpointRow> for WebhookEndpoint {
    type Error = InconsistentRow;

    fn try_from(row: EndpointRow) -> Result<Self, InconsistentRow> {
        let id = WebhookEndpointId::from_uuid(row.webhook_endpoint_id);
        let state = match (row.disable_time, row.disable_reason.as_deref(), row.pause_end_time) {
            (None, None, None) => State::Active,
            (None, None, Some(end_time)) => State::Paused { end_time: end_time.to_jiff() },
            // An older build, which knew no reason, disabled by request alone.
            (Some(time), None | Some("requested"), _) => {
                State::Disabled { time: time.to_jiff(), reason: DisableReason::Requested }
            }
            (Some(time), Some("gone"), _) => {
                State::Disabled { time: time.to_jiff(), reason: DisableReason::Gone }
            }
            (time, reason, _) => {
                return Err(InconsistentRow {
                    table: "webhook_endpoint",
                    column: "disable_reason",
                    row: id.to_string(),
                    problem: format!("{reason:?} with disable_time {time:?}"),
                });
            }
        };
        Ok(Self {
            id,
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            url: row.url,
            event_types: row.event_type,
            create_time: row.create_time.to_jiff(),
            state,
            failures: row.failures.unsigned_abs(),
        })
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
        endpoint: row.try_into()?,
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
    rows.into_iter().map(|row| Ok(row.try_into()?)).collect()
}

/// Locks all endpoints of a merchant, in the order in which everybody does: two that are disabled at once, each telling the
/// other, wait for one another in turn.
#[tracing::instrument(name = "db.webhook_endpoint.lock", skip_all)]
pub(crate) async fn lock(conn: &mut PgConnection, merchant_id: MerchantId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "select 1 as locked from webhook_endpoint where merchant_id = $1
         order by webhook_endpoint_id for no key update",
        merchant_id.uuid(),
    )
    .fetch_all(conn)
    .await?;
    Ok(())
}

/// Disables an endpoint and returns it; none when there is no such endpoint, or it is disabled. Its pending deliveries are
/// no longer due.
#[tracing::instrument(name = "db.webhook_endpoint.disable", skip_all)]
pub(crate) async fn disable(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: WebhookEndpointId,
    reason: DisableReason,
    now: Timestamp,
) -> Result<Option<WebhookEndpoint>, sqlx::Error> {
    let row = query_endpoints!(
        "update webhook_endpoint set disable_time = $3, disable_reason = $4, pause_end_time = null, pauses = 0
         where merchant_id = $1 and webhook_endpoint_id = $2 and disable_time is null
         returning",
        "",
        merchant_id.uuid(),
        id.uuid(),
        now.to_sqlx() as _,
        reason.as_str(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    // A statement of its own: deliveries that were made while the row's lock was waited for are seen, too.
    sqlx::query!(
        "update delivery set next_attempt_time = null
         where merchant_id = $1 and webhook_endpoint_id = $2 and state = 'pending'",
        merchant_id.uuid(),
        id.uuid(),
    )
    .execute(conn)
    .await?;
    Ok(Some(row.try_into()?))
}

/// Makes an endpoint active and returns it; none when there is no such endpoint, or it is active. Deliveries that waited for
/// a disabled one are due.
#[tracing::instrument(name = "db.webhook_endpoint.enable", skip_all)]
pub(crate) async fn enable(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: WebhookEndpointId,
    now: Timestamp,
) -> Result<Option<WebhookEndpoint>, sqlx::Error> {
    let row = query_endpoints!(
        "update webhook_endpoint
         set disable_time = null, disable_reason = null, failures = 0, pauses = 0, pause_end_time = null
         where merchant_id = $1 and webhook_endpoint_id = $2
               and (disable_time is not null or pause_end_time is not null)
         returning",
        "",
        merchant_id.uuid(),
        id.uuid(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    sqlx::query!(
        "update delivery set next_attempt_time = $3
         where merchant_id = $1 and webhook_endpoint_id = $2 and state = 'pending' and next_attempt_time is null",
        merchant_id.uuid(),
        id.uuid(),
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(Some(row.try_into()?))
}

/// Returns an endpoint.
#[tracing::instrument(name = "db.webhook_endpoint.get", skip_all)]
pub(crate) async fn get(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: WebhookEndpointId,
) -> Result<Option<WebhookEndpoint>, sqlx::Error> {
    let row = query_endpoints!(
        "select",
        "from webhook_endpoint where merchant_id = $1 and webhook_endpoint_id = $2",
        merchant_id.uuid(),
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(WebhookEndpoint::try_from).transpose()?)
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
