//! Fee schedules. The newest row of a merchant and channel is in force.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::MerchantId;
use tael_money::{Money, Rate};
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use super::{inconsistent, money};
use crate::domain::channel::Channel;
use crate::domain::fee_schedule::{FeeSchedule, FeeTerms, Terms, TermsInForce};

struct FeeScheduleRow {
    merchant_id: Uuid,
    channel: String,
    version: i64,
    fingerprint: Vec<u8>,
    currency: Option<String>,
    rate: String,
    fixed_minor: Option<i64>,
    minimum_minor: Option<i64>,
    maximum_minor: Option<i64>,
    returned_on_refund: bool,
    channel_rate: String,
    channel_fixed_minor: Option<i64>,
    channel_minimum_minor: Option<i64>,
    channel_maximum_minor: Option<i64>,
    channel_returned_on_refund: bool,
}

/// A query of fee schedules, whose columns stand here once; `$from` is the statement from there on, where `s` is the schedule.
macro_rules! query_schedules {
    ($distinct:literal, $from:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            FeeScheduleRow,
            "select " + $distinct + r#" s.merchant_id, s.channel, s.version, s.fingerprint, s.currency,
                    s.rate::text as "rate!", s.fixed_minor, s.minimum_minor, s.maximum_minor, s.returned_on_refund,
                    s.channel_rate::text as "channel_rate!", s.channel_fixed_minor, s.channel_minimum_minor,
                    s.channel_maximum_minor, s.channel_returned_on_refund
             "# + $from,
            $($argument),+
        )
    };
}

impl TryFrom<&FeeScheduleRow> for FeeSchedule {
    type Error = InconsistentRow;

    fn try_from(row: &FeeScheduleRow) -> Result<Self, InconsistentRow> {
        let bad = |column, value: &str| inconsistent("fee_schedule", column, row.merchant_id, value);
        let rate = |column, text: &str| Rate::parse(text).map_err(|_| bad(column, text));
        let amount = |minor: Option<i64>| match (minor, row.currency.as_deref()) {
            (None, _) => Ok(None),
            (Some(minor), Some(currency)) => {
                money("fee_schedule", row.merchant_id, minor, currency).map(Some)
            }
            (Some(_), None) => Err(bad("currency", "null")),
        };
        Ok(Self {
            channel: Channel::from_name(&row.channel).ok_or_else(|| bad("channel", &row.channel))?,
            terms: Terms {
                fee: FeeTerms {
                    rate: rate("rate", &row.rate)?,
                    fixed: amount(row.fixed_minor)?,
                    minimum: amount(row.minimum_minor)?,
                    maximum: amount(row.maximum_minor)?,
                    returned_on_refund: row.returned_on_refund,
                },
                channel_fee: FeeTerms {
                    rate: rate("channel_rate", &row.channel_rate)?,
                    fixed: amount(row.channel_fixed_minor)?,
                    minimum: amount(row.channel_minimum_minor)?,
                    maximum: amount(row.channel_maximum_minor)?,
                    returned_on_refund: row.channel_returned_on_refund,
                },
            },
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
    let Terms { fee, channel_fee } = &schedule.terms;
    let amounts = [fee, channel_fee].map(|terms| [terms.fixed, terms.minimum, terms.maximum]);
    let currency = amounts.iter().flatten().flatten().next().map(|amount| amount.currency());
    let inserted = sqlx::query!(
        "insert into fee_schedule (merchant_id, channel, rate, channel_rate, create_time, idempotency_key, fingerprint,
             currency, fixed_minor, minimum_minor, maximum_minor, returned_on_refund, channel_fixed_minor,
             channel_minimum_minor, channel_maximum_minor, channel_returned_on_refund)
         values ($1, $2, $3::text::numeric, $4::text::numeric, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
         on conflict on constraint fee_schedule_idempotency do nothing",
        merchant_id.uuid(),
        schedule.channel.name(),
        fee.rate.to_string(),
        channel_fee.rate.to_string(),
        at.to_sqlx() as _,
        guard.key,
        guard.fingerprint,
        currency.map(tael_money::Currency::code),
        fee.fixed.map(Money::minor),
        fee.minimum.map(Money::minor),
        fee.maximum.map(Money::minor),
        fee.returned_on_refund,
        channel_fee.fixed.map(Money::minor),
        channel_fee.minimum.map(Money::minor),
        channel_fee.maximum.map(Money::minor),
        channel_fee.returned_on_refund,
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
    let row = query_schedules!(
        "",
        "from fee_schedule s where s.merchant_id = $1 and s.idempotency_key = $2",
        merchant_id.uuid(),
        key,
    );
    let Some(row) = row.fetch_optional(conn).await? else { return Ok(None) };
    Ok(Some(((&row).try_into()?, row.fingerprint)))
}

/// Returns the schedules of a merchant that are in force, by channel.
#[tracing::instrument(name = "db.fee_schedule.in_force", skip_all)]
pub(crate) async fn in_force(
    pool: &PgPool,
    merchant_id: MerchantId,
) -> Result<Vec<FeeSchedule>, sqlx::Error> {
    let rows = query_schedules!(
        "distinct on (s.channel)",
        "from fee_schedule s where s.merchant_id = $1 order by s.channel, s.version desc",
        merchant_id.uuid(),
    );
    rows.fetch_all(pool).await?.iter().map(|row| row.try_into().map_err(sqlx::Error::from)).collect()
}

/// Returns the terms in force at many merchants and channels; none where there is no schedule.
#[tracing::instrument(name = "db.fee_schedule.load", skip_all)]
pub(crate) async fn terms_in_force(
    conn: &mut PgConnection,
    wanted: &[(MerchantId, Channel)],
) -> Result<HashMap<(MerchantId, Channel), TermsInForce>, sqlx::Error> {
    let merchants: Vec<Uuid> = wanted.iter().map(|(merchant, _)| merchant.uuid()).collect();
    let channels: Vec<&str> = wanted.iter().map(|(_, channel)| channel.name()).collect();
    let rows = query_schedules!(
        "",
        "from unnest($1::uuid[], $2::text[]) as wanted (merchant_id, channel)
         cross join lateral (
             select * from fee_schedule f
             where f.merchant_id = wanted.merchant_id and f.channel = wanted.channel
             order by f.version desc limit 1
         ) s",
        &merchants,
        &channels as _,
    );
    rows.fetch_all(conn)
        .await?
        .iter()
        .map(|row| {
            let FeeSchedule { channel, terms } = row.try_into()?;
            let in_force = TermsInForce { version: Some(row.version), terms };
            Ok(((MerchantId::from_uuid(row.merchant_id), channel), in_force))
        })
        .collect()
}
