//! Fee schedules. The newest row of a merchant and channel is in force.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::MerchantId;
use tael_money::Rate;
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use super::inconsistent;
use crate::domain::channel::Channel;
use crate::domain::fee_schedule::{FeeSchedule, Rates};

struct FeeScheduleRow {
    merchant_id: Uuid,
    channel: String,
    rate: String,
    channel_rate: String,
}

impl TryFrom<FeeScheduleRow> for FeeSchedule {
    type Error = InconsistentRow;

    fn try_from(row: FeeScheduleRow) -> Result<Self, InconsistentRow> {
        let bad = |column, value: &str| inconsistent("fee_schedule", column, row.merchant_id, value);
        let rate = |column, text: &str| Rate::parse(text).map_err(|_| bad(column, text));
        Ok(Self {
            channel: Channel::from_name(&row.channel).ok_or_else(|| bad("channel", &row.channel))?,
            rates: Rates { fee: rate("rate", &row.rate)?, channel: rate("channel_rate", &row.channel_rate)? },
        })
    }
}

/// Adds a schedule unless its idempotency key was used; says whether it did.
#[tracing::instrument(name = "db.fee_schedule.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    schedule: &FeeSchedule,
    at: Timestamp,
    guard: &IdempotencyKey,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "insert into fee_schedule (merchant_id, channel, rate, channel_rate, create_time, idempotency_key, fingerprint)
         values ($1, $2, $3::text::numeric, $4::text::numeric, $5, $6, $7)
         on conflict on constraint fee_schedule_idempotency do nothing",
        merchant_id.uuid(),
        schedule.channel.name(),
        schedule.rates.fee.to_string(),
        schedule.rates.channel.to_string(),
        at.to_sqlx() as _,
        guard.key,
        guard.fingerprint,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns the schedule that was set under an idempotency key, and the request's fingerprint.
#[tracing::instrument(name = "db.fee_schedule.by_key", skip_all)]
pub(crate) async fn by_key(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<(FeeSchedule, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        r#"select merchant_id, channel, rate::text as "rate!", channel_rate::text as "channel_rate!", fingerprint
           from fee_schedule where merchant_id = $1 and idempotency_key = $2"#,
        merchant_id.uuid(),
        key,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let schedule = FeeScheduleRow {
        merchant_id: row.merchant_id,
        channel: row.channel,
        rate: row.rate,
        channel_rate: row.channel_rate,
    };
    Ok(Some((schedule.try_into()?, row.fingerprint)))
}

/// Returns the schedules of a merchant that are in force, by channel.
#[tracing::instrument(name = "db.fee_schedule.in_force", skip_all)]
pub(crate) async fn in_force(
    pool: &PgPool,
    merchant_id: MerchantId,
) -> Result<Vec<FeeSchedule>, sqlx::Error> {
    let rows = sqlx::query_as!(
        FeeScheduleRow,
        r#"select distinct on (channel) merchant_id, channel, rate::text as "rate!",
                  channel_rate::text as "channel_rate!"
           from fee_schedule where merchant_id = $1
           order by channel, version desc"#,
        merchant_id.uuid(),
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| row.try_into().map_err(sqlx::Error::from)).collect()
}

/// Returns the rates in force at many merchants and channels; none where there is no schedule.
#[tracing::instrument(name = "db.fee_schedule.load", skip_all)]
pub(crate) async fn rates_in_force(
    conn: &mut PgConnection,
    wanted: &[(MerchantId, Channel)],
) -> Result<HashMap<(MerchantId, Channel), Rates>, sqlx::Error> {
    let merchants: Vec<Uuid> = wanted.iter().map(|(merchant, _)| merchant.uuid()).collect();
    let channels: Vec<&str> = wanted.iter().map(|(_, channel)| channel.name()).collect();
    let rows = sqlx::query_as!(
        FeeScheduleRow,
        r#"select s.merchant_id, s.channel, s.rate::text as "rate!", s.channel_rate::text as "channel_rate!"
           from unnest($1::uuid[], $2::text[]) as wanted (merchant_id, channel)
           cross join lateral (
               select * from fee_schedule f
               where f.merchant_id = wanted.merchant_id and f.channel = wanted.channel
               order by f.version desc limit 1
           ) s"#,
        &merchants,
        &channels as _,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let merchant_id = MerchantId::from_uuid(row.merchant_id);
            let schedule = FeeSchedule::try_from(row)?;
            Ok(((merchant_id, schedule.channel), schedule.rates))
        })
        .collect()
}
