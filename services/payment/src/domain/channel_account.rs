//! Channel accounts, without their secrets.

use jiff::Timestamp;
use tael_ids::{ChannelAccountId, MerchantId};

/// An outside party that moves money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    Alipay,
}

impl Channel {
    /// Its name in rows, spans and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Alipay => "alipay",
        }
    }
}

/// How the payer pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    QrCode,
}

/// A merchant's account at a channel. Accounts never change, so what was built from one may be kept.
#[derive(Clone, Debug)]
pub(crate) struct ChannelAccount {
    pub(crate) merchant_id: MerchantId,
    pub(crate) id: ChannelAccountId,
    pub(crate) label: String,
    pub(crate) identity: Identity,
    pub(crate) create_time: Timestamp,
}

/// How a channel knows the merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    Alipay(AlipayIdentity),
}

/// How Alipay knows the merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AlipayIdentity {
    pub(crate) app_id: String,
    pub(crate) seller_id: String,
    pub(crate) gateway_url: String,
}

impl ChannelAccount {
    pub(crate) fn channel(&self) -> Channel {
        match &self.identity {
            Identity::Alipay(_) => Channel::Alipay,
        }
    }
}
