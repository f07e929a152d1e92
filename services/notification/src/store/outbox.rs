//! Deliveries as the worker sees them: made, taken, tried.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_ids::{DeliveryAttemptId, DeliveryId, EventId, MerchantId, WebhookEndpointId};

use crate::domain::breaker::{FAILURES_TO_PAUSE, Health};
use crate::domain::delivery::{AttemptResult, Next};

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

/// Returns merchants that have deliveries to come, due or not, in the order of their ids: at most `limit` after `after`.
#[tracing::instrument(level = "debug", name = "db.delivery.waiting_merchants", skip_all)]
pub(crate) async fn waiting_merchants(
    pool: &PgPool,
    after: MerchantId,
    limit: i64,
) -> Result<Vec<MerchantId>, sqlx::Error> {
    // From one merchant to the next: however many deliveries one has, it costs one look into the index.
    let rows = sqlx::query_scalar!(
        r#"with recursive merchant as (
               (select d.merchant_id, 1::bigint as place from delivery d
                where d.state = 'pending' and d.next_attempt_time is not null and d.merchant_id > $1
                order by d.merchant_id limit 1)
               union all
               select next.merchant_id, m.place + 1
               from merchant m, lateral (
                   select d.merchant_id from delivery d
                   where d.state = 'pending' and d.next_attempt_time is not null and d.merchant_id > m.merchant_id
                   order by d.merchant_id limit 1
               ) next
               where m.place < $2
           )
           select merchant_id as "merchant_id!" from merchant order by place"#,
        after.uuid(),
        limit,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(MerchantId::from_uuid).collect())
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
    /// Its endpoint failed before, or is on trial: a success is news.
    pub(crate) endpoint_fails: bool,
}

/// How many deliveries may be taken.
#[derive(Clone, Debug)]
pub(crate) struct Capacity {
    /// Of all together.
    pub(crate) total: i64,
    /// For each of these merchants, and how many of theirs are under way.
    pub(crate) merchants: Vec<(MerchantId, i64)>,
    /// For one merchant, those that are under way included.
    pub(crate) per_merchant: i64,
    /// For one endpoint, those that are under way included.
    pub(crate) per_endpoint: i64,
    /// How many are under way, by endpoint.
    pub(crate) endpoints: Vec<(WebhookEndpointId, i64)>,
}

/// Takes deliveries that are due so that no other worker takes them before `lease_end`: the oldest of each endpoint, of
/// endpoints and merchants in turn, those first that have the fewest under way. For a paused endpoint none, for one on trial
/// one at a time. One whose endpoint was disabled is not returned, and no longer due.
#[tracing::instrument(level = "debug", name = "db.delivery.claim", skip_all)]
pub(crate) async fn claim(
    pool: &PgPool,
    now: Timestamp,
    lease_end: Timestamp,
    capacity: &Capacity,
) -> Result<Vec<Claimed>, sqlx::Error> {
    let (merchants, held): (Vec<_>, Vec<_>) =
        capacity.merchants.iter().map(|(id, under_way)| (id.uuid(), *under_way)).unzip();
    let (endpoints, busy): (Vec<_>, Vec<_>) =
        capacity.endpoints.iter().map(|(id, under_way)| (id.uuid(), *under_way)).unzip();
    let rows = sqlx::query!(
        r#"with candidate as (
               select d.merchant_id, d.delivery_id, d.next_attempt_time,
                      m.held + row_number() over (partition by m.merchant_id order by d.place, d.next_attempt_time)
                          as place
               from unnest($3::uuid[], $4::bigint[]) as m (merchant_id, held)
               join webhook_endpoint e on e.merchant_id = m.merchant_id
               left join unnest($5::uuid[], $6::bigint[]) as b (webhook_endpoint_id, busy)
                   on b.webhook_endpoint_id = e.webhook_endpoint_id
               cross join lateral (
                   select o.*, row_number() over (order by o.next_attempt_time) as place
                   from (
                       select d.merchant_id, d.delivery_id, d.next_attempt_time from delivery d
                       where d.merchant_id = e.merchant_id and d.webhook_endpoint_id = e.webhook_endpoint_id
                             and d.state = 'pending' and d.next_attempt_time is not null
                             and d.next_attempt_time <= $1
                       order by d.next_attempt_time
                       limit greatest(case when e.pause_end_time is null then $7::bigint else 1 end
                                          - coalesce(b.busy, 0), 0)
                   ) o
               ) d
               where e.pause_end_time is null or e.pause_end_time <= $1
           ), due as materialized (
               select d.merchant_id, d.delivery_id
               from candidate c join delivery d on d.merchant_id = c.merchant_id and d.delivery_id = c.delivery_id
               where c.place <= $8 and d.state = 'pending' and d.next_attempt_time <= $1
               order by c.place, c.next_attempt_time
               limit $9
               for update of d skip locked
           )
           update delivery d set next_attempt_time = case when e.disable_time is null then $2::timestamptz end
           from due, webhook_endpoint e
           where d.merchant_id = due.merchant_id and d.delivery_id = due.delivery_id
                 and e.merchant_id = d.merchant_id and e.webhook_endpoint_id = d.webhook_endpoint_id
           returning d.merchant_id, d.delivery_id, d.webhook_endpoint_id, d.event_id, d.body, d.traceparent, d.round,
                     d.tries, e.url, e.sealed_secret, e.disable_time is null as "active!",
                     (e.failures > 0 or e.pause_end_time is not null) as "endpoint_fails!""#,
        now.to_sqlx() as _,
        lease_end.to_sqlx() as _,
        &merchants,
        &held,
        &endpoints,
        &busy,
        capacity.per_endpoint,
        capacity.per_merchant,
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
            endpoint_fails: row.endpoint_fails,
        })
        .collect())
}

/// A try that was made, and what follows.
#[derive(Clone, Debug)]
pub(crate) struct Tried {
    pub(crate) merchant_id: MerchantId,
    pub(crate) id: DeliveryId,
    pub(crate) endpoint_id: WebhookEndpointId,
    /// Made for this try alone: recorded again, it is known.
    pub(crate) attempt_id: DeliveryAttemptId,
    pub(crate) round: i32,
    pub(crate) time: Timestamp,
    pub(crate) duration: Duration,
    pub(crate) result: AttemptResult,
    /// What the try says about its endpoint.
    pub(crate) health: Health,
    /// For how long the endpoint asks to be left alone.
    pub(crate) retry_after: Option<Duration>,
    /// Its endpoint failed before.
    pub(crate) endpoint_fails: bool,
    pub(crate) next: Next,
    /// When the pauses that `next` and `retry_after` ask for begin.
    pub(crate) end_time: Timestamp,
}

impl Tried {
    /// Whether it changes what is known of its endpoint.
    fn is_news(&self) -> bool {
        self.endpoint_fails || self.health != Health::Good
    }
}

/// Records tries of different deliveries, and what they say about their endpoints, by one commit. What was recorded before
/// stays as it was: a COMMIT whose answer was lost is repeated without harm. A try of an earlier round is recorded and moves
/// nothing.
#[tracing::instrument(level = "debug", name = "db.delivery.record", skip_all)]
pub(crate) async fn record(pool: &PgPool, tried: &[Tried], pauses: &[Duration]) -> Result<(), sqlx::Error> {
    if !tried.iter().any(Tried::is_news) {
        return record_attempts(&mut *pool.acquire().await?, tried).await;
    }
    let mut tx = pool.begin().await?;
    judge_endpoints(&mut tx, tried, pauses).await?;
    record_attempts(&mut tx, tried).await?;
    tx.commit().await
}

/// Pauses endpoints that fail or ask for it, and forgets the failures of those that answer.
async fn judge_endpoints(
    conn: &mut PgConnection,
    tried: &[Tried],
    pauses: &[Duration],
) -> Result<(), sqlx::Error> {
    let endpoints: Vec<_> = tried.iter().map(|t| t.endpoint_id.uuid()).collect();
    let merchants: Vec<_> = tried.iter().map(|t| t.merchant_id.uuid()).collect();
    let deliveries: Vec<_> = tried.iter().map(|t| t.id.uuid()).collect();
    let attempts: Vec<_> = tried.iter().map(|t| t.attempt_id.uuid()).collect();
    let good: Vec<_> = tried.iter().map(|t| t.health == Health::Good).collect();
    let overloaded: Vec<_> = tried.iter().map(|t| t.health == Health::Overloaded).collect();
    let until: Vec<_> = tried
        .iter()
        .map(|t| Some(t.end_time.saturating_add(t.retry_after?).unwrap_or(Timestamp::MAX).to_sqlx()))
        .collect();
    let pauses: Vec<_> = pauses.iter().map(|p| i64::try_from(p.as_millis()).unwrap_or(i64::MAX)).collect();
    let now = tried.iter().map(|t| t.end_time).max().unwrap_or(Timestamp::MIN);
    // In one order, and before anything is counted: who recorded the same tries first has done so when this goes on.
    sqlx::query!(
        "select 1 as locked from webhook_endpoint
         where merchant_id = any ($1) and webhook_endpoint_id = any ($2)
         order by merchant_id, webhook_endpoint_id for no key update",
        &merchants,
        &endpoints,
    )
    .fetch_all(&mut *conn)
    .await?;
    sqlx::query!(
        "with outcome as (
             select t.merchant_id, t.webhook_endpoint_id, bool_or(t.good) as good,
                    bool_or(t.overloaded) as overloaded, count(*) filter (where not t.good)::integer as failed,
                    max(t.retry_time) as retry_time
             from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bool[], $6::bool[], $7::timestamptz[])
                 as t (merchant_id, webhook_endpoint_id, delivery_id, attempt_id, good, overloaded, retry_time)
             where not exists (
                 select from delivery_attempt a
                 where a.merchant_id = t.merchant_id and a.delivery_id = t.delivery_id
                       and a.attempt_id = t.attempt_id)
             group by t.merchant_id, t.webhook_endpoint_id
         ), judged as (
             select o.*, e.pauses,
                    case when o.good then 0 else e.failures + o.failed end as failures,
                    -- What fails within a pause was under way when it began.
                    (e.pause_end_time is null or e.pause_end_time <= $8)
                        and (o.overloaded
                             or not o.good and (e.pauses > 0 or e.failures + o.failed >= $9)) as pausing
             from outcome o join webhook_endpoint e using (merchant_id, webhook_endpoint_id)
             where e.disable_time is null
         )
         update webhook_endpoint e
         set failures = j.failures,
             pauses = case when j.pausing then e.pauses + 1 when j.good then 0 else e.pauses end,
             pause_end_time = case
                 when j.pausing then greatest(
                     $8 + make_interval(secs => ($10::bigint[])[least(e.pauses + 1, cardinality($10::bigint[]))]
                                                / 1000.0),
                     j.retry_time)
                 when j.good and not j.overloaded then null
                 else greatest(e.pause_end_time, j.retry_time)
             end
         from judged j
         where e.merchant_id = j.merchant_id and e.webhook_endpoint_id = j.webhook_endpoint_id",
        &merchants,
        &endpoints,
        &deliveries,
        &attempts,
        &good,
        &overloaded,
        &until as _,
        now.to_sqlx() as _,
        FAILURES_TO_PAUSE,
        &pauses,
    )
    .execute(conn)
    .await?;
    Ok(())
}

async fn record_attempts(conn: &mut PgConnection, tried: &[Tried]) -> Result<(), sqlx::Error> {
    let mut merchants = Vec::with_capacity(tried.len());
    let mut ids = Vec::with_capacity(tried.len());
    let mut attempts = Vec::with_capacity(tried.len());
    let mut rounds = Vec::with_capacity(tried.len());
    let mut states = Vec::with_capacity(tried.len());
    let mut next_times = Vec::with_capacity(tried.len());
    let mut times = Vec::with_capacity(tried.len());
    let mut durations = Vec::with_capacity(tried.len());
    let mut codes = Vec::with_capacity(tried.len());
    let mut errors = Vec::with_capacity(tried.len());
    for t in tried {
        merchants.push(t.merchant_id.uuid());
        ids.push(t.id.uuid());
        attempts.push(t.attempt_id.uuid());
        rounds.push(t.round);
        let (state, next_time) = match t.next {
            Next::Succeeded => ("succeeded", None),
            Next::RetryAfter(pause) => {
                ("pending", Some(t.end_time.saturating_add(pause).unwrap_or(Timestamp::MAX)))
            }
            Next::Failed => ("failed", None),
        };
        states.push(state.to_owned());
        next_times.push(next_time.map(Timestamp::to_sqlx));
        times.push(t.time.to_sqlx());
        durations.push(i32::try_from(t.duration.as_millis()).unwrap_or(i32::MAX));
        let (code, error) = match &t.result {
            AttemptResult::Answered(status_code) => (i32::from(*status_code), String::new()),
            AttemptResult::Unanswered(reason) => (0, reason.clone()),
        };
        codes.push(code);
        errors.push(error);
    }
    sqlx::query!(
        "with tried as (
             select * from unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::timestamptz[],
                                  $6::timestamptz[], $7::integer[], $8::integer[], $9::text[], $10::uuid[])
                 as t (merchant_id, delivery_id, round, state, next_attempt_time, attempt_time, duration_ms, status,
                       error, attempt_id)
             where not exists (
                 select from delivery_attempt a
                 where a.merchant_id = t.merchant_id and a.delivery_id = t.delivery_id
                       and a.attempt_id = t.attempt_id)
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
             returning d.merchant_id, d.delivery_id, d.attempts, t.attempt_time, t.duration_ms, t.status, t.error,
                       t.attempt_id
         )
         insert into delivery_attempt (merchant_id, delivery_id, number, attempt_time, duration_ms, status, error,
                                       attempt_id)
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
        &attempts,
    )
    .execute(conn)
    .await?;
    Ok(())
}
