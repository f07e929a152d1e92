//! The channels that take money.

use jiff::tz::{self, TimeZone};

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

    /// The zone in which the channel cuts the days of its bills.
    pub(crate) fn calendar(self) -> TimeZone {
        match self {
            // Alipay's times are Beijing time, UTC+8 all year round.
            Self::Alipay => TimeZone::fixed(tz::offset(8)),
        }
    }
}
