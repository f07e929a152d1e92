//! Comparisons of a channel's statement with the ledger.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use tael_ids::{ChannelAccountId, MerchantId, ReconciliationId};
use tael_money::Money;

use crate::domain::channel::Calendar;

/// One line of a channel's statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelStatementLine {
    pub(crate) kind: ChannelStatementLineKind,
    /// The number that the channel was given: an attempt's or a refund's, if it is ours.
    pub(crate) number: String,
    pub(crate) channel_transaction_id: String,
    /// Positive for both kinds.
    pub(crate) amount: Money,
    /// What the channel pays out of the amount, or takes back, before its fee; in the amount's currency.
    pub(crate) received: Money,
    /// Positive when charged, negative when given back; in the amount's currency.
    pub(crate) fee: Money,
    pub(crate) finish_time: Option<Timestamp>,
}

/// A line of a channel's statement that can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnreadableLine {
    /// The number in it, if that much could be read.
    pub(crate) number: String,
    /// Which line, and why.
    pub(crate) problem: String,
}

/// Some of a statement's lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatementPart {
    pub(crate) lines: Vec<ChannelStatementLine>,
    pub(crate) unreadable: Vec<UnreadableLine>,
}

/// What a line of a statement tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelStatementLineKind {
    Payment,
    Refund,
}

impl ChannelStatementLineKind {
    /// The name by which it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Refund => "refund",
        }
    }
}

/// A statement's day by the channel's calendar, with its neighbours: a movement near midnight may stand in the statement of the
/// next day, or of the day before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatementDay {
    pub(crate) date: Date,
    pub(crate) yesterday: Timestamp,
    pub(crate) begin: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) tomorrow_end: Timestamp,
}

impl StatementDay {
    /// Cuts the day. Fails at the ends of the calendar only.
    pub(crate) fn new(date: Date, calendar: &Calendar) -> Result<Self, jiff::Error> {
        let begin_of = |days: i32| -> Result<Timestamp, jiff::Error> {
            calendar.begin_of(date.checked_add(days.days())?)
        };
        Ok(Self {
            date,
            yesterday: begin_of(-1)?,
            begin: begin_of(0)?,
            end: begin_of(1)?,
            tomorrow_end: begin_of(2)?,
        })
    }
}

/// One comparison, as it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reconciliation {
    pub(crate) id: ReconciliationId,
    pub(crate) merchant_id: MerchantId,
    pub(crate) channel_account_id: ChannelAccountId,
    pub(crate) statement_date: Date,
    pub(crate) create_time: Timestamp,
    pub(crate) counts: Counts,
    /// The first breaks; there may be more.
    pub(crate) breaks: Vec<Break>,
}

/// What a comparison found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) statement_lines: u32,
    pub(crate) matched: u32,
    pub(crate) breaks: u32,
}

/// A difference between the statement and the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Break {
    pub(crate) number: String,
    pub(crate) difference: Difference,
}

/// How they differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// The statement has it, the ledger has not.
    MissingInLedger { statement: Side },
    /// The ledger has it, the statement has not.
    MissingInStatement { ledger: Side },
    /// Other amounts.
    Amount { ledger: Side, statement: Side },
    /// One amount, of which the channel pays out, or takes back, another part.
    Received { ledger: Side, statement: Side },
    /// One amount, another fee of the channel.
    Fee { ledger: Side, statement: Side },
    /// The statement has a line that can\'t be read.
    Unreadable { problem: String },
}

/// What one side says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) amount: Money,
    pub(crate) received: Money,
    /// Positive when charged, negative when given back.
    pub(crate) fee: Money,
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn days_are_cut_by_the_channels_calendar() {
        let calendar = Calendar { zone: TimeZone::get("Asia/Shanghai").unwrap(), ..Calendar::UTC };
        let day = StatementDay::new("2026-11-21".parse().unwrap(), &calendar).unwrap();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(day.yesterday, at("2026-11-19T16:00:00Z"));
        assert_eq!(day.begin, at("2026-11-20T16:00:00Z"));
        assert_eq!(day.end, at("2026-11-21T16:00:00Z"));
        assert_eq!(day.tomorrow_end, at("2026-11-22T16:00:00Z"));
    }

    #[test]
    fn the_ends_of_the_calendar_are_errors() {
        assert!(StatementDay::new(Date::MAX, &Calendar::UTC).is_err());
        assert!(StatementDay::new(Date::MIN, &Calendar::UTC).is_err());
    }
}
