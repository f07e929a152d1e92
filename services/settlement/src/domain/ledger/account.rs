//! Ledger accounts.

use tael_ids::{AccountId, MerchantId};
use tael_money::{Currency, Money};

use crate::domain::channel::Channel;

/// What an account stands for. In the order in which accounts are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AccountKind {
    /// What a channel owes us, net of its fee. Debit balance.
    ChannelReceivable,
    /// What we owe the merchant and have not put into a batch. Credit balance, but for refunds that outweigh payments.
    MerchantPayable,
    /// What closed batches owe the merchant. Credit balance, with the same exception.
    PayoutPayable,
    /// What the merchant's fees brought. Credit balance.
    FeeIncome,
    /// What the channel's fees cost. Debit balance.
    ChannelCost,
    /// Money that came when its order could not take it, until that is decided. Credit balance.
    Suspense,
}

impl AccountKind {
    /// Whether every channel has an account of its own.
    fn stands_for_a_channel(self) -> bool {
        match self {
            Self::ChannelReceivable | Self::ChannelCost => true,
            Self::MerchantPayable | Self::PayoutPayable | Self::FeeIncome | Self::Suspense => false,
        }
    }

    /// The name by which it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ChannelReceivable => "channel_receivable",
            Self::MerchantPayable => "merchant_payable",
            Self::PayoutPayable => "payout_payable",
            Self::FeeIncome => "fee_income",
            Self::ChannelCost => "channel_cost",
            Self::Suspense => "suspense",
        }
    }

    /// Reads a stored name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "channel_receivable" => Some(Self::ChannelReceivable),
            "merchant_payable" => Some(Self::MerchantPayable),
            "payout_payable" => Some(Self::PayoutPayable),
            "fee_income" => Some(Self::FeeIncome),
            "channel_cost" => Some(Self::ChannelCost),
            "suspense" => Some(Self::Suspense),
            _ => None,
        }
    }
}

/// What makes an account the same: every merchant has one of a kind per currency and, for the kinds that stand for a
/// channel, per channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AccountKey {
    pub(crate) merchant_id: MerchantId,
    pub(crate) kind: AccountKind,
    pub(crate) channel: Option<Channel>,
    pub(crate) currency: Currency,
}

impl AccountKey {
    /// The account of this kind that a transfer moves: the channel counts for the kinds that stand for one.
    pub(crate) fn of(
        kind: AccountKind,
        merchant_id: MerchantId,
        channel: Option<Channel>,
        currency: Currency,
    ) -> Self {
        let channel = if kind.stands_for_a_channel() { channel } else { None };
        Self { merchant_id, kind, channel, currency }
    }
}

/// An account with its sums; never one signed number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) id: AccountId,
    pub(crate) key: AccountKey,
    pub(crate) debits: Money,
    pub(crate) credits: Money,
}

/// The side of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    Debit,
    Credit,
}

impl Direction {
    /// The name by which it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Debit => "debit",
            Self::Credit => "credit",
        }
    }

    /// Reads a stored name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "debit" => Some(Self::Debit),
            "credit" => Some(Self::Credit),
            _ => None,
        }
    }
}
