//! Deliveries as the worker sees them: made, taken, tried.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_ids::{DeliveryId, EventId, MerchantId, WebhookEndpointId};
use uuid::Uuid;

use crate::domain::delivery::{AttemptResult, Next};

/// So many of the oldest due deliveries are looked at to choose from.
const CANDIDATES: i64 = 256;

/// A delivery to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewDelivery {
    pub(crate) merchant_id: MerchantId,
    pub(crate) endpoint_id: WebhookEndpointId,
    pub(crate) event_id: EventId,
    pub(crate) event_type: &'static str,
    pub(crate) body: String,
    pub(crate) traceparent: String,
}

/// Inserts deliveries, due at once, in one statement. One that is there already stays as it is.
#[tracing::instrument(name = "db.delivery.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    deliveries: Vec<NewDelivery>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let count = deliveries.len();
    let mut ids = Vec::with_capacity(count);
    let mut merchants = Vec::with_capacity(count);
    let mut endpoints = Vec::with_capacity(count);
    let mut events = Vec::with_capacity(count);
    let mut types = Vec::with_capacity(count);
    let mut bodies = Vec::with_capacity(count);
    let mut traces = Vec::with_capacity(count);
    for delivery in deliveries {
        ids.push(DeliveryId::new().uuid());
        merchants.push(delivery.merchant_id.uuid());
        endpoints.push(delivery.endpoint_id.uuid());
        events.push(delivery.event_id.uuid());
        types.push(delivery.event_type.to_owned());
        bodies.push(delivery.body);
        traces.push(delivery.traceparent);
    }
    sqlx::query!(
        "insert into delivery (delivery_id, merchant_id, webhook_endpoint_id, event_id, event_type, body, traceparent,
                               state, next_attempt_time, create_time)
         select n.*, 'pending', $8, $8
         from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[]) as n
         on conflict (merchant_id, webhook_endpoint_id, event_id) do nothing",
        &ids,
        &merchants,
        &endpoints,
        &events,
        &types,
        &bodies,
        &traces,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A delivery that this worker is to send.
#[derive(Clone, Debug)]
pub(crate) struct Claimed {
    pub(crate) merchant_id: MerchantId,
    pub(crate) id: DeliveryId,
    pub(crate) endpoint_id: WebhookEndpointId,
    pub(crate) event_id: EventId,
    pub(crate) body: String,
    pub(crate) traceparent: String,
    pub(crate) round: i32,
    /// The tries of this round so far.
    pub(crate) tries: u32,
    pub(crate) url: String,
    pub(crate) sealed_secret: Vec<u8>,
}

/// How many deliveries may be taken.
#[derive(Clone, Debug)]
pub(crate) struct Capacity {
    pub(crate) total: i64,
    pub(crate) per_endpoint: i64,
    /// Endpoints that have enough under way.
    pub(crate) busy: Vec<Uuid>,
}

/// Takes deliveries that are due, oldest first, so that no other worker takes them before `lease_end`. One whose
/// endpoint was disabled is not returned, and no longer due.
#[tracing::instrument(level = "debug", name = "db.delivery.claim", skip_all)]
pub(crate) async fn claim(
    pool: &PgPool,
    now: Timestamp,
    lease_end: Timestamp,
    capacity: &Capacity,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with candidate as (
               select merchant_id, delivery_id, next_attempt_time,
                      row_number() over (partition by webhook_endpoint_id order by next_attempt_time) as place
               from (
                   select merchant_id, delivery_id, webhook_endpoint_id, next_attempt_time from delivery
                   where state = 'pending' and next_attempt_time <= $1 and webhook_endpoint_id <> all ($3)
                   order by next_attempt_time
                   limit $4
               ) oldest
           ), due as materialized (
               select d.merchant_id, d.delivery_id
               from candidate c join delivery d on d.merchant_id = c.merchant_id and d.delivery_id = c.delivery_id
               where c.place <= $5 and d.state = 'pending' and d.next_attempt_time <= $1
               order by c.next_attempt_time
               limit $6
               for update of d skip locked
           )
           update delivery d set next_attempt_time = case when e.disable_time is null then $2::timestamptz end
           from due, webhook_endpoint e
           where d.merchant_id = due.merchant_id and d.delivery_id = due.delivery_id
                 and e.merchant_id = d.merchant_id and e.webhook_endpoint_id = d.webhook_endpoint_id
           returning d.merchant_id, d.delivery_id, d.webhook_endpoint_id, d.event_id, d.body, d.traceparent, d.round,
                     d.tries, e.url, e.sealed_secret, e.disable_time is null as "active!""#,
        now.to_sqlx() as _,
        lease_end.to_sqlx() as _,
        &capacity.busy,
        CANDIDATES,
        capacity.per_endpoint,
        capacity.total,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .filter(|row| row.active)
        .map(|row| Claimed {
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            id: DeliveryId::from_uuid(row.delivery_id),
            endpoint_id: WebhookEndpointId::from_uuid(row.webhook_endpoint_id),
            event_id: EventId::from_uuid(row.event_id),
            body: row.body,
            traceparent: row.traceparent,
            round: row.round,
            tries: row.tries.unsigned_abs(),
            url: row.url,
            sealed_secret: row.sealed_secret,
        })
        .collect())
}

/// A try that was made, and what follows.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub(crate) merchant_id: MerchantId,
    pub(crate) id: DeliveryId,
    pub(crate) round: i32,
    pub(crate) time: Timestamp,
    pub(crate) duration: Duration,
    pub(crate) result: AttemptResult,
    pub(crate) next: Next,
    /// When the pause that `next` asks for begins.
    pub(crate) end_time: Timestamp,
}

/// Records tries of different deliveries, in one statement. A try of an earlier round is recorded and moves nothing.
#[tracing::instrument(level = "debug", name = "db.delivery.record", skip_all)]
pub(crate) async fn record(pool: &PgPool, tried: &[Tried]) -> Result<(), sqlx::Error> {
    let mut merchants = Vec::with_capacity(tried.len());
    let mut ids = Vec::with_capacity(tried.len());
    let mut rounds = Vec::with_capacity(tried.len());
    let mut states = Vec::with_capacity(tried.len());
    let mut next_times = Vec::with_capacity(tried.len());
    let mut times = Vec::with_capacity(tried.len());
    let mut durations = Vec::with_capacity(tried.len());
    let mut codes = Vec::with_capacity(tried.len());
    let mut errors = Vec::with_capacity(tried.len());
    for Tried { merchant_id, id, round, time, duration, result, next, end_time } in tried {
        merchants.push(merchant_id.uuid());
        ids.push(id.uuid());
        rounds.push(*round);
        let (state, next_time) = match next {
            Next::Succeeded => ("succeeded", None),
            Next::RetryAfter(pause) => {
                ("pending", Some(end_time.saturating_add(*pause).unwrap_or(Timestamp::MAX)))
            }
            Next::Failed => ("failed", None),
        };
        states.push(state.to_owned());
        next_times.push(next_time.map(Timestamp::to_sqlx));
        times.push(time.to_sqlx());
        durations.push(i32::try_from(duration.as_millis()).unwrap_or(i32::MAX));
        let (code, error) = match result {
            AttemptResult::Answered(status_code) => (i32::from(*status_code), String::new()),
            AttemptResult::Unanswered(reason) => (0, reason.clone()),
        };
        codes.push(code);
        errors.push(error);
    }
    sqlx::query!(
        "with tried as (
             select * from unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::timestamptz[],
                                  $6::timestamptz[], $7::integer[], $8::integer[], $9::text[])
                 as t (merchant_id, delivery_id, round, state, next_attempt_time, attempt_time, duration_ms, status,
                       error)
         ), moved as (
             update delivery d
             set attempts = d.attempts + 1,
                 tries = case when d.round = t.round then d.tries + 1 else d.tries end,
                 state = case when d.round = t.round and d.state = 'pending' then t.state else d.state end,
                 next_attempt_time = case
                     when d.round <> t.round or d.state <> 'pending' then d.next_attempt_time
                     when e.disable_time is null then t.next_attempt_time
                 end
             from tried t, webhook_endpoint e
             where d.merchant_id = t.merchant_id and d.delivery_id = t.delivery_id
                   and e.merchant_id = d.merchant_id and e.webhook_endpoint_id = d.webhook_endpoint_id
             returning d.merchant_id, d.delivery_id, d.attempts, t.attempt_time, t.duration_ms, t.status, t.error
         )
         insert into delivery_attempt (merchant_id, delivery_id, number, attempt_time, duration_ms, status, error)
         select * from moved",
        &merchants,
        &ids,
        &rounds,
        &states,
        &next_times as _,
        &times as _,
        &durations,
        &codes,
        &errors,
    )
    .execute(pool)
    .await?;
    Ok(())
}
