//! Payments and their attempts.
//!
//! ```text
//! payment   created → pending → succeeded        attempt   initiated → pending → succeeded
//!                   ↘ closed | failed                                ↘ closed | failed
//! ```
//! Money that comes for what had ended is recorded all the same: `closed | failed → succeeded`. In doubt is no state but
//! a flag beside it, and amounts are beside it too.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tael_ids::{AttemptId, ChannelAccountId, MerchantId, OrderId, PaymentId};
use tael_money::{Money, MoneyError};

use super::channel_account::{ChannelName, Method};
use super::next_action::NextAction;

/// Money to be taken for an order.
#[derive(Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) merchant_id: MerchantId,
    pub(crate) id: PaymentId,
    pub(crate) order_id: OrderId,
    pub(crate) amount: Money,
    pub(crate) state: PaymentState,
    pub(crate) subject: String,
    /// What the channel has taken for us; refunds never exceed it.
    pub(crate) captured: Money,
    pub(crate) refunded: Money,
    pub(crate) refund_reserved: Money,
    pub(crate) create_time: Timestamp,
    pub(crate) expire_time: Timestamp,
    /// Oldest first; never empty.
    pub(crate) attempts: Vec<Attempt>,
}

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PaymentState {
    /// Stored; the channel has not confirmed that the payer can pay.
    Created,
    /// The payer can pay.
    Pending,
    /// The channel has the money, since this time by its own clock.
    Succeeded { pay_time: Timestamp },
    /// Closed at the channel without money.
    Closed,
    /// Refused by the channel; nothing was charged.
    Failed,
}

impl PaymentState {
    /// The name it has in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Pending => "pending",
            Self::Succeeded { .. } => "succeeded",
            Self::Closed => "closed",
            Self::Failed => "failed",
        }
    }
}

/// One try to take a payment through one channel account.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) id: AttemptId,
    pub(crate) channel: ChannelName,
    pub(crate) channel_account_id: ChannelAccountId,
    pub(crate) method: Method,
    pub(crate) state: AttemptState,
    /// A call to the channel had no clear answer yet.
    pub(crate) in_doubt: bool,
    pub(crate) routing_reason: String,
    /// What stands in the way, as far as somebody said so who can't be believed.
    pub(crate) problem: Option<String>,
    /// What the caller gave for the method.
    pub(crate) input: MethodInput,
    /// What the channel must be told later: the adapter's own.
    pub(crate) refs: Value,
    /// The channel's own number, once it gave one.
    pub(crate) channel_transaction_id: Option<String>,
    pub(crate) create_time: Timestamp,
    pub(crate) schedule: Schedule,
    /// The payment's trace; empty when it was not traced.
    pub(crate) traceparent: String,
}

/// What a caller gives for a method, beside the method itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MethodInput {
    /// Where the channel is to send the payer when there is nothing more to do there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) return_url: Option<String>,
    /// Who the payer is to the channel, such as an `openid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) payer: Option<String>,
}

/// When the channel is asked about something, and by whom now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// How often the channel was asked.
    pub(crate) tries: i32,
    /// Until when somebody is calling the channel about it.
    pub(crate) lease_until: Option<Timestamp>,
}

impl Schedule {
    /// Whether somebody is calling the channel about it now.
    pub(crate) fn is_leased(&self, now: Timestamp) -> bool {
        self.lease_until.is_some_and(|until| until > now)
    }
}

/// Where an attempt stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AttemptState {
    /// Committed before the channel was called; its answer is not known.
    Initiated,
    /// The channel waits for the payer, who is to do this.
    Pending { action: NextAction },
    /// The payer paid.
    Succeeded,
    /// Closed at the channel.
    Closed,
    /// Refused for good.
    Failed(Failure),
}

impl AttemptState {
    /// The name it has in the table.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Initiated => "initiated",
            Self::Pending { .. } => "pending",
            Self::Succeeded => "succeeded",
            Self::Closed => "closed",
            Self::Failed(_) => "failed",
        }
    }

    /// Whether the channel's last word is still to come.
    pub(crate) fn is_open(&self) -> bool {
        match self {
            Self::Initiated | Self::Pending { .. } => true,
            Self::Succeeded | Self::Closed | Self::Failed(_) => false,
        }
    }
}

/// Why a channel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: FailureReason,
    /// The channel's own code.
    pub(crate) channel_code: String,
}

/// Why a channel refused, in one vocabulary for all channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureReason {
    /// The payer, or for refunds the merchant, has not enough money there.
    InsufficientFunds,
    /// The channel finds it too risky.
    RiskDeclined,
    /// The merchant's account at the channel is not set up for it.
    ChannelConfiguration,
    /// The channel does not accept what we sent.
    InvalidRequest,
    /// What the call is about has ended at the channel.
    AlreadyClosed,
    /// Any other refusal.
    Declined,
}

impl FailureReason {
    /// Every reason.
    const ALL: [Self; 6] = [
        Self::InsufficientFunds,
        Self::RiskDeclined,
        Self::ChannelConfiguration,
        Self::InvalidRequest,
        Self::AlreadyClosed,
        Self::Declined,
    ];

    /// The name it has in the table and on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InsufficientFunds => "INSUFFICIENT_FUNDS",
            Self::RiskDeclined => "RISK_DECLINED",
            Self::ChannelConfiguration => "CHANNEL_CONFIGURATION",
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::AlreadyClosed => "ALREADY_CLOSED",
            Self::Declined => "DECLINED",
        }
    }

    /// Reads a name back.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

impl Payment {
    /// Returns the latest attempt, which is the one that can still move.
    pub(crate) fn latest_attempt(&self) -> &Attempt {
        self.attempts.last().expect("a payment is stored with its first attempt, and read with it")
    }

    /// Returns an attempt of the payment.
    pub(crate) fn attempt(&self, id: AttemptId) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.id == id)
    }

    /// What can still be refunded: neither refunded yet nor reserved for a refund.
    pub(crate) fn refundable(&self) -> Result<Money, MoneyError> {
        self.captured.checked_sub(self.refunded)?.checked_sub(self.refund_reserved)
    }
}
