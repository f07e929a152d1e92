//! Deliveries as merchants see them.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::{DeliveryId, EventId, MerchantId, WebhookEndpointId};
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use crate::domain::delivery::{Attempt, AttemptResult, Delivery, State};

/// A row of `delivery` with its attempts as parallel arrays.
struct DeliveryRow {
    delivery_id: Uuid,
    webhook_endpoint_id: Uuid,
    event_id: Uuid,
    event_type: String,
    body: String,
    state: String,
    next_attempt_time: Option<jiff_sqlx::Timestamp>,
    create_time: jiff_sqlx::Timestamp,
    attempt_times: Vec<jiff_sqlx::Timestamp>,
    durations_ms: Vec<i32>,
    statuses: Vec<i32>,
    errors: Vec<String>,
}

/// Selects [`DeliveryRow`]s of `delivery` as `d`.
macro_rules! select_delivery {
    ($condition:tt, $($argument:expr),* $(,)?) => {
        sqlx::query_as!(
            DeliveryRow,
            r#"select delivery_id, webhook_endpoint_id, event_id, event_type, body, state, create_time,
                  -- A paused endpoint is sent nothing, whatever its deliveries' own schedules say.
                  case when next_attempt_time is not null then greatest(next_attempt_time, (
                      select pause_end_time from webhook_endpoint e
                      where e.merchant_id = d.merchant_id and e.webhook_endpoint_id = d.webhook_endpoint_id
                  )) end as next_attempt_time,
                  a.times as "attempt_times!: Vec<jiff_sqlx::Timestamp>",
                  a.durations as "durations_ms!", a.statuses as "statuses!", a.errors as "errors!"
           from delivery d, lateral (
               select coalesce(array_agg(attempt_time order by number), '{}') as times,
                      coalesce(array_agg(duration_ms order by number), '{}') as durations,
                      coalesce(array_agg(status order by number), '{}') as statuses,
                      coalesce(array_agg(error order by number), '{}') as errors
               from delivery_attempt where merchant_id = d.merchant_id and delivery_id = d.delivery_id
           ) a "# + $condition,
            $($argument),*
        )
    };
}

impl TryFrom<DeliveryRow> for Delivery {
    type Error = InconsistentRow;

    fn try_from(row: DeliveryRow) -> Result<Self, InconsistentRow> {
        let id = DeliveryId::from_uuid(row.delivery_id);
        let state = match (row.state.as_str(), row.next_attempt_time) {
            ("pending", time) => {
                State::Pending { next_attempt_time: time.map(jiff_sqlx::Timestamp::to_jiff) }
            }
            ("succeeded", None) => State::Succeeded,
            ("failed", None) => State::Failed,
            (state, time) => {
                return Err(InconsistentRow {
                    table: "delivery",
                    column: "state",
                    row: id.to_string(),
                    problem: format!("{state:?} with next_attempt_time {time:?}"),
                });
            }
        };
        let attempts = row.attempt_times.into_iter().zip(row.durations_ms).zip(row.statuses).zip(row.errors);
        let attempts = attempts
            .map(|(((time, duration_ms), status), error)| Attempt {
                time: time.to_jiff(),
                duration: Duration::from_millis(u64::from(duration_ms.unsigned_abs())),
                result: match u16::try_from(status) {
                    Ok(status) if status > 0 => AttemptResult::Answered(status),
                    Ok(_) | Err(_) => AttemptResult::Unanswered(error),
                },
            })
            .collect();
        Ok(Self {
            id,
            endpoint_id: WebhookEndpointId::from_uuid(row.webhook_endpoint_id),
            event_id: EventId::from_uuid(row.event_id),
            event_type: row.event_type,
            body: row.body,
            state,
            attempts,
            create_time: row.create_time.to_jiff(),
        })
    }
}

/// Returns a delivery with its attempts.
#[tracing::instrument(name = "db.delivery.get", skip_all)]
pub(crate) async fn get(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: DeliveryId,
) -> Result<Option<Delivery>, sqlx::Error> {
    let row = select_delivery!("where merchant_id = $1 and delivery_id = $2", merchant_id.uuid(), id.uuid(),)
        .fetch_optional(pool)
        .await?;
    Ok(row.map(Delivery::try_from).transpose()?)
}

/// Returns a merchant's deliveries with their attempts, newest first: those to one endpoint, in one state (as stored),
/// after an id, as far as these are given.
#[tracing::instrument(name = "db.delivery.list", skip_all)]
pub(crate) async fn list(
    pool: &PgPool,
    merchant_id: MerchantId,
    endpoint_id: Option<WebhookEndpointId>,
    state: Option<&str>,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Delivery>, sqlx::Error> {
    let rows = select_delivery!(
        "where merchant_id = $1 and ($2::uuid is null or webhook_endpoint_id = $2)
               and ($3::text is null or state = $3) and ($4::uuid is null or delivery_id < $4)
         order by delivery_id desc
         limit $5",
        merchant_id.uuid(),
        endpoint_id.map(WebhookEndpointId::uuid),
        state,
        after,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| Ok(row.try_into()?)).collect()
}

/// Notes that a replay was asked for, unless its idempotency key was used; says whether it did. None when there is no
/// such delivery.
#[tracing::instrument(name = "db.delivery.note_replay", skip_all)]
pub(crate) async fn note_replay(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: DeliveryId,
    guard: &IdempotencyKey,
    now: Timestamp,
) -> Result<Option<bool>, sqlx::Error> {
    let row = sqlx::query!(
        r#"with asked as (
               select merchant_id, delivery_id from delivery where merchant_id = $1 and delivery_id = $2
           ), noted as (
               insert into delivery_replay (merchant_id, idempotency_key, fingerprint, delivery_id, create_time)
               select merchant_id, $3, $4, delivery_id, $5 from asked
               on conflict (merchant_id, idempotency_key) do nothing
               returning 1
           )
           select exists (select from asked) as "known!", exists (select from noted) as "noted!""#,
        merchant_id.uuid(),
        id.uuid(),
        guard.key,
        guard.fingerprint,
        now.to_sqlx() as _,
    )
    .fetch_one(conn)
    .await?;
    Ok(row.known.then_some(row.noted))
}

/// Returns the fingerprint of the replay that was asked for under an idempotency key.
#[tracing::instrument(name = "db.delivery.replay_by_key", skip_all)]
pub(crate) async fn replay_by_key(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar!(
        "select fingerprint from delivery_replay where merchant_id = $1 and idempotency_key = $2",
        merchant_id.uuid(),
        key,
    )
    .fetch_optional(conn)
    .await
}

/// Makes a delivery pending again from whatever state, due at once unless its endpoint is disabled.
#[tracing::instrument(name = "db.delivery.replay", skip_all)]
pub(crate) async fn replay(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: DeliveryId,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update delivery d
         set state = 'pending', round = d.round + 1, tries = 0,
             next_attempt_time = case when e.disable_time is null then $3::timestamptz end
         from webhook_endpoint e
         where d.merchant_id = $1 and d.delivery_id = $2
               and e.merchant_id = d.merchant_id and e.webhook_endpoint_id = d.webhook_endpoint_id",
        merchant_id.uuid(),
        id.uuid(),
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}
