//! What a merchant pays and what a channel costs.

use tael_money::{Money, Rate};

use crate::domain::channel::Channel;

/// The rates at one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeeSchedule {
    pub(crate) channel: Channel,
    pub(crate) rates: Rates,
}

/// The merchant's rate and the channel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    /// What the merchant pays us.
    pub(crate) fee: Rate,
    /// What the channel is expected to keep; its bill is checked against it.
    pub(crate) channel: Rate,
}

impl Rates {
    /// Without a schedule nothing is paid and nothing is expected.
    pub(crate) const NONE: Self = Self { fee: Rate::ZERO, channel: Rate::ZERO };

    /// The fees of a payment.
    pub(crate) fn of(self, amount: Money) -> Fees {
        Fees { fee: self.fee.of(amount), channel_fee: self.channel.of(amount) }
    }
}

/// The fees of one movement: charged by a payment, given back by a refund. Never negative, never above its amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fees {
    pub(crate) fee: Money,
    pub(crate) channel_fee: Money,
}
