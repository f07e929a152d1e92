//! Channel accounts, without their secrets: `draft → active ⇄ disabled`.

use jiff::Timestamp;
use serde_json::Value;
use tael_ids::{ChannelAccountId, MerchantId};

/// An outside party that moves money, by its name in rows, spans, metrics and paths, such as `alipay`. Which there are is
/// the list of adapters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChannelName(Box<str>);

impl ChannelName {
    pub(crate) fn new(name: &str) -> Self {
        Self(name.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// How the payer pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// The payer scans a code that the merchant shows.
    QrCode,
    /// The payer is led to the channel's page, and back.
    Web,
    /// The payer confirms in the channel's app, which the merchant's app or page opens with parameters.
    InApp,
}

impl Method {
    /// Every method.
    pub(crate) const ALL: [Self; 3] = [Self::QrCode, Self::Web, Self::InApp];

    /// The name it has in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::QrCode => "qr_code",
            Self::Web => "web",
            Self::InApp => "in_app",
        }
    }

    /// Reads a name back.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name)
    }

    /// What it is in words.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::QrCode => "QR code",
            Self::Web => "web page",
            Self::InApp => "in-app payment",
        }
    }
}

/// Where an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AccountState {
    /// Configured; whether its keys are right is not proved.
    Draft,
    /// Takes payments.
    Active,
    /// Takes no new payments; those that it has go on, and their refunds.
    Disabled,
}

impl AccountState {
    const ALL: [Self; 3] = [Self::Draft, Self::Active, Self::Disabled];

    /// The name it has in the table and in errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }

    /// Reads a name back.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A merchant's account at a channel.
#[derive(Clone, Debug)]
pub(crate) struct ChannelAccount {
    pub(crate) merchant_id: MerchantId,
    pub(crate) id: ChannelAccountId,
    pub(crate) channel: ChannelName,
    pub(crate) label: String,
    /// How the channel knows the merchant: the adapter's own, which it has checked.
    pub(crate) identity: Value,
    pub(crate) state: AccountState,
    pub(crate) create_time: Timestamp,
}
