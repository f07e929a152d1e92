//! Fields of requests that only this service has.

use jiff::Timestamp;
use jiff::civil::Date;
use tael_grpc::fields::Fields;
use tael_money::Rate;
use tael_proto::settlement::v1 as wire;
use tael_proto::r#type::v1::Channel as WireChannel;

use crate::clients::channel;
use crate::domain::fee_schedule::{FeeSchedule, Rates};

pub(super) fn fee_schedule(fields: &mut Fields, schedule: Option<&wire::FeeSchedule>) -> Option<FeeSchedule> {
    let Some(schedule) = schedule else {
        return fields.bad("fee_schedule", "is missing");
    };
    let known = fields.choice::<WireChannel>("fee_schedule.channel", schedule.channel);
    let fee = rate(fields, "fee_schedule.rate", &schedule.rate);
    let channel_rate = rate(fields, "fee_schedule.channel_rate", &schedule.channel_rate);
    let channel = known.and_then(|known| channel(known.into()));
    Some(FeeSchedule { channel: channel?, rates: Rates { fee: fee?, channel: channel_rate? } })
}

fn rate(fields: &mut Fields, field: &str, text: &str) -> Option<Rate> {
    if text.is_empty() {
        return fields.bad(field, "is missing");
    }
    Rate::parse(text).map_or_else(|error| fields.bad(field, error.to_string()), Some)
}

/// Reads a cut-off that may be absent and must not be in the future: the outer option is none when it is bad.
#[expect(clippy::option_option, reason = "bad, absent and given are three cases")]
pub(super) fn cut_off_time(
    fields: &mut Fields,
    time: Option<&prost_types::Timestamp>,
    now: Timestamp,
) -> Option<Option<Timestamp>> {
    if time.is_none() {
        return Some(None);
    }
    let time = fields.timestamp("cut_off_time", time)?;
    if time > now {
        return fields.bad("cut_off_time", "must not be in the future");
    }
    if time < Timestamp::UNIX_EPOCH {
        return fields.bad("cut_off_time", "must not be before 1970");
    }
    Some(Some(time))
}

/// Reads a day such as "2026-11-21", in exactly this form.
pub(super) fn statement_date(fields: &mut Fields, text: &str) -> Option<Date> {
    if text.is_empty() {
        return fields.bad("statement_date", "is missing");
    }
    date(fields, "statement_date", text)
}

/// Reads a day of any field, in exactly that form.
pub(super) fn date(fields: &mut Fields, field: &str, text: &str) -> Option<Date> {
    match text.parse::<Date>() {
        Ok(date) if date.to_string() == text && (1970..=9998).contains(&date.year()) => Some(date),
        Ok(_) | Err(_) => fields.bad(field, "must be a day such as 2026-11-21"),
    }
}
