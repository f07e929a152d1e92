//! Fields of requests that only this service has.

use jiff::Timestamp;
use jiff::civil::Date;
use tael_grpc::fields::Fields;
use tael_money::{Money, Rate};
use tael_proto::settlement::v1 as wire;
use tael_proto::r#type::v1::{Channel as WireChannel, Money as WireMoney};

use crate::clients::channel;
use crate::domain::fee_schedule::{FeeSchedule, FeeTerms, Terms};

pub(super) fn fee_schedule(fields: &mut Fields, schedule: Option<&wire::FeeSchedule>) -> Option<FeeSchedule> {
    let Some(schedule) = schedule else {
        return fields.bad("fee_schedule", "is missing");
    };
    let known = fields.choice::<WireChannel>("fee_schedule.channel", schedule.channel);
    let fee = fee_terms(fields, "fee_schedule.fee", schedule.fee.as_ref());
    let channel_fee = fee_terms(fields, "fee_schedule.channel_fee", schedule.channel_fee.as_ref());
    let channel = known.and_then(|known| channel(known.into()));
    let (fee, channel_fee) = (fee?, channel_fee?);
    let amounts = [fee, channel_fee].map(|terms| [terms.fixed, terms.minimum, terms.maximum]);
    let mut currencies = amounts.iter().flatten().flatten().map(|amount| amount.currency());
    if let Some(first) = currencies.next()
        && currencies.any(|other| other != first)
    {
        return fields.bad("fee_schedule", "its amounts must be in one currency");
    }
    Some(FeeSchedule { channel: channel?, terms: Terms { fee, channel_fee } })
}

fn fee_terms(fields: &mut Fields, field: &str, terms: Option<&wire::FeeTerms>) -> Option<FeeTerms> {
    let Some(terms) = terms else {
        return fields.bad(field, "is missing");
    };
    let rate = rate(fields, &format!("{field}.rate"), &terms.rate);
    let fixed = part(fields, &format!("{field}.fixed"), terms.fixed.as_ref());
    let minimum = part(fields, &format!("{field}.minimum"), terms.minimum.as_ref());
    let maximum = part(fields, &format!("{field}.maximum"), terms.maximum.as_ref());
    let (rate, fixed, minimum, maximum) = (rate?, fixed?, minimum?, maximum?);
    if let (Some(minimum), Some(maximum)) = (minimum, maximum)
        && minimum.minor() > maximum.minor()
    {
        return fields.bad(format!("{field}.maximum"), "must not be below the minimum");
    }
    Some(FeeTerms { rate, fixed, minimum, maximum, returned_on_refund: !terms.kept_on_refund })
}

/// Reads an amount that may be absent: the outer option is none when it is bad.
#[expect(clippy::option_option, reason = "bad, absent and given are three cases")]
fn part(fields: &mut Fields, field: &str, amount: Option<&WireMoney>) -> Option<Option<Money>> {
    if amount.is_none() { Some(None) } else { fields.positive_money(field, amount).map(Some) }
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
