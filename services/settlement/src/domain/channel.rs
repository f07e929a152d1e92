//! The channels that take money.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

/// An outside party that moves money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Channel {
    Alipay,
}

impl Channel {
    pub(crate) const ALL: [Self; 1] = [Self::Alipay];

    /// The name by which it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alipay => "alipay",
        }
    }

    /// Reads a stored name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "alipay" => Some(Self::Alipay),
            _ => None,
        }
    }
}

/// How a channel cuts the days of its statements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Calendar {
    pub(crate) zone: TimeZone,
    /// When, by that zone's clock, a day begins.
    pub(crate) cut_over: Time,
}

impl Calendar {
    /// Of a channel of which nothing is known.
    pub(crate) const UTC: Self = Self { zone: TimeZone::UTC, cut_over: Time::midnight() };

    /// When a day of statements begins.
    pub(crate) fn begin_of(&self, date: Date) -> Result<Timestamp, jiff::Error> {
        Ok(date.to_datetime(self.cut_over).to_zoned(self.zone.clone())?.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_its_cut_over() {
        let early =
            Calendar { zone: TimeZone::get("Asia/Shanghai").unwrap(), cut_over: Time::constant(23, 0, 0, 0) };
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let date = |text: &str| text.parse::<Date>().unwrap();
        assert_eq!(early.begin_of(date("2026-11-20")).unwrap(), at("2026-11-20T15:00:00Z"));
        assert_eq!(Calendar::UTC.begin_of(date("2026-11-20")).unwrap(), at("2026-11-20T00:00:00Z"));
    }
}
