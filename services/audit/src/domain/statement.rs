//! Whose statements are read, and how a channel cuts its days.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use tael_ids::{ChannelAccountId, MerchantId};

/// A seller at a channel, who has one statement for each day, whichever of the accounts asks for it.
#[derive(Clone, Debug)]
pub(crate) struct StatementOwner {
    /// The channel and the seller's number there, as one text.
    pub(crate) key: String,
    /// Where the channel cuts its days.
    pub(crate) time_zone: TimeZone,
    /// The accounts by which the statement can be asked for, with their merchants, oldest first; at least one.
    pub(crate) accounts: Vec<(MerchantId, ChannelAccountId)>,
}

impl StatementOwner {
    /// The merchant whom the statement concerns. A seller who is several merchants is the first of them.
    pub(crate) fn merchant_id(&self) -> String {
        self.accounts.first().map(|(merchant_id, _)| merchant_id.to_string()).unwrap_or_default()
    }
}

/// A day by a channel's calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatementDay {
    pub(crate) date: Date,
    pub(crate) begin: Timestamp,
    pub(crate) end: Timestamp,
}

impl StatementDay {
    /// Cuts the days from the first to the last. Fails at the ends of the calendar only.
    pub(crate) fn between(first: Date, last: Date, zone: &TimeZone) -> Result<Vec<Self>, jiff::Error> {
        let mut days = Vec::new();
        let mut date = first;
        while date <= last {
            let next = date.checked_add(1.days())?;
            let begin = date.to_zoned(zone.clone())?.timestamp();
            days.push(Self { date, begin, end: next.to_zoned(zone.clone())?.timestamp() });
            date = next;
        }
        Ok(days)
    }
}
