//! What is known of channels.

use sqlx::PgPool;

use super::inconsistent;
use crate::domain::channel::{Calendar, Channel};
use jiff::tz::TimeZone;
use uuid::Uuid;

/// Returns how a channel cuts the days of its statements.
#[tracing::instrument(name = "db.channel_calendar.get", skip_all)]
pub(crate) async fn calendar(pool: &PgPool, channel: Channel) -> Result<Calendar, sqlx::Error> {
    let row = sqlx::query!(
        r#"select time_zone, cut_over_time as "cut_over_time: jiff_sqlx::Time"
           from channel_calendar where channel = $1"#,
        channel.name(),
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(Calendar::UTC) };
    let zone = TimeZone::get(&row.time_zone)
        .map_err(|_| inconsistent("channel_calendar", "time_zone", Uuid::nil(), &row.time_zone))?;
    Ok(Calendar { zone, cut_over: row.cut_over_time.to_jiff() })
}
