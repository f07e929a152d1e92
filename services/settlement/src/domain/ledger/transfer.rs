//! Transfers: postings whose debits equal their credits.

use jiff::Timestamp;
use tael_ids::{
    AccountId, AttemptId, BatchId, ChannelAccountId, EventId, MerchantId, PaymentId, RefundId, TransferId,
};
use tael_money::Money;

use crate::domain::channel::Channel;
use crate::domain::fee_schedule::TermsInForce;
use crate::domain::ledger::account::{AccountKey, AccountKind, Direction};

/// A posting to be made. What it says of an account is by the account's key; the store knows ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewTransfer {
    pub(crate) id: TransferId,
    pub(crate) merchant_id: MerchantId,
    pub(crate) reason: TransferReason,
    /// What moved; above zero.
    pub(crate) gross: Money,
    pub(crate) components: Components,
    pub(crate) occur_time: Timestamp,
    pub(crate) entries: Vec<NewEntry>,
}

/// A part of what a transfer is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Component {
    /// What the channel pays out, or takes back, before its fee.
    Received,
    /// What a coupon of the merchant's own took off the price: nobody pays it out.
    Coupon,
    /// The merchant's fee: charged by a payment, given back by a refund.
    Fee,
    /// The channel's, likewise.
    ChannelFee,
    /// What is held, or was.
    Held,
    /// What a batch owes; below zero when refunds outweigh payments.
    Net,
}

impl Component {
    /// The name by which it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Coupon => "coupon",
            Self::Fee => "fee",
            Self::ChannelFee => "channel_fee",
            Self::Held => "held",
            Self::Net => "net",
        }
    }

    /// Reads a stored name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "received" => Some(Self::Received),
            "coupon" => Some(Self::Coupon),
            "fee" => Some(Self::Fee),
            "channel_fee" => Some(Self::ChannelFee),
            "held" => Some(Self::Held),
            "net" => Some(Self::Net),
            _ => None,
        }
    }
}

/// What a transfer is made of: each component once, and none of nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Components(Vec<(Component, Money)>);

impl Components {
    /// Leaves out what is zero.
    pub(crate) fn new(parts: impl IntoIterator<Item = (Component, Money)>) -> Self {
        Self(parts.into_iter().filter(|(_, amount)| !amount.is_zero()).collect())
    }

    /// None for nothing.
    pub(crate) fn get(&self, component: Component) -> Option<Money> {
        self.0.iter().find(|(part, _)| *part == component).map(|(_, amount)| *amount)
    }

    /// In minor units; 0 for nothing.
    pub(crate) fn minor(&self, component: Component) -> i64 {
        self.get(component).map_or(0, Money::minor)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Component, Money)> {
        self.0.iter().copied()
    }
}

/// Why money moved, and what only that reason has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TransferReason {
    Payment {
        payment_id: PaymentId,
        attempt_id: AttemptId,
        terms: TermsInForce,
        channel_ref: ChannelRef,
    },
    Refund {
        payment_id: PaymentId,
        refund_id: RefundId,
        origin: RefundOrigin,
        refunded_total: Money,
        channel_ref: ChannelRef,
    },
    Batch {
        batch_id: BatchId,
    },
    /// The payment's order could not take its money.
    Hold {
        payment_id: PaymentId,
        event_id: EventId,
    },
    /// It was decided what becomes of that money.
    Release {
        payment_id: PaymentId,
        event_id: EventId,
    },
}

/// Who wanted a refund, which decides the number under which the channel's statement has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RefundOrigin {
    /// It was asked for here: the number is the refund's.
    Requested,
    /// Nobody: the channel gave back this attempt by itself, in closing it, and was never told of a refund.
    Reversal(AttemptId),
    /// Somebody at the channel's own console, under a number of the channel's.
    MadeAtChannel { number: String },
}

/// Where a movement took place, and the event that told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelRef {
    pub(crate) channel: Channel,
    pub(crate) channel_account_id: ChannelAccountId,
    /// The channel's own number of the transaction, where it is known.
    pub(crate) transaction_id: Option<String>,
    pub(crate) event_id: EventId,
}

/// One side of a posting to be made; its amount is above zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NewEntry {
    pub(crate) account: AccountKey,
    pub(crate) direction: Direction,
    pub(crate) amount: Money,
}

impl TransferReason {
    pub(crate) fn kind(&self) -> TransferKind {
        match self {
            Self::Payment { .. } => TransferKind::Payment,
            Self::Refund { .. } => TransferKind::Refund,
            Self::Batch { .. } => TransferKind::Batch,
            Self::Hold { .. } => TransferKind::Hold,
            Self::Release { .. } => TransferKind::Release,
        }
    }

    pub(crate) fn payment_id(&self) -> Option<PaymentId> {
        match self {
            Self::Payment { payment_id, .. }
            | Self::Refund { payment_id, .. }
            | Self::Hold { payment_id, .. }
            | Self::Release { payment_id, .. } => Some(*payment_id),
            Self::Batch { .. } => None,
        }
    }

    pub(crate) fn refund_id(&self) -> Option<RefundId> {
        match self {
            Self::Refund { refund_id, .. } => Some(*refund_id),
            Self::Payment { .. } | Self::Batch { .. } | Self::Hold { .. } | Self::Release { .. } => None,
        }
    }

    pub(crate) fn batch_id(&self) -> Option<BatchId> {
        match self {
            Self::Batch { batch_id } => Some(*batch_id),
            Self::Payment { .. } | Self::Refund { .. } | Self::Hold { .. } | Self::Release { .. } => None,
        }
    }

    /// Where it took place; none for what the channel has no part in.
    pub(crate) fn channel_ref(&self) -> Option<&ChannelRef> {
        match self {
            Self::Payment { channel_ref, .. } | Self::Refund { channel_ref, .. } => Some(channel_ref),
            Self::Batch { .. } | Self::Hold { .. } | Self::Release { .. } => None,
        }
    }

    /// The event that told of it.
    pub(crate) fn event_id(&self) -> Option<EventId> {
        match self {
            Self::Payment { channel_ref, .. } | Self::Refund { channel_ref, .. } => {
                Some(channel_ref.event_id)
            }
            Self::Hold { event_id, .. } | Self::Release { event_id, .. } => Some(*event_id),
            Self::Batch { .. } => None,
        }
    }

    /// The number that the channel was given, by which its statement is matched. A payment and its reversal share theirs:
    /// it is a number together with the kind that stands for one movement.
    pub(crate) fn number(&self) -> Option<String> {
        match self {
            Self::Payment { attempt_id, .. }
            | Self::Refund { origin: RefundOrigin::Reversal(attempt_id), .. } => {
                Some(attempt_id.channel_number())
            }
            Self::Refund { origin: RefundOrigin::MadeAtChannel { number }, .. } => Some(number.clone()),
            Self::Refund { origin: RefundOrigin::Requested, refund_id, .. } => {
                Some(refund_id.channel_number())
            }
            Self::Batch { .. } | Self::Hold { .. } | Self::Release { .. } => None,
        }
    }

    /// The terms by which a payment's fees were reckoned.
    pub(crate) fn terms(&self) -> Option<&TermsInForce> {
        match self {
            Self::Payment { terms, .. } => Some(terms),
            Self::Refund { .. } | Self::Batch { .. } | Self::Hold { .. } | Self::Release { .. } => None,
        }
    }

    pub(crate) fn refunded_total(&self) -> Option<Money> {
        match self {
            Self::Refund { refunded_total, .. } => Some(*refunded_total),
            Self::Payment { .. } | Self::Batch { .. } | Self::Hold { .. } | Self::Release { .. } => None,
        }
    }

    /// Whether it is a refund that was made at the channel's own console.
    pub(crate) fn is_made_at_channel(&self) -> bool {
        matches!(self, Self::Refund { origin: RefundOrigin::MadeAtChannel { .. }, .. })
    }
}

/// Why money moved, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TransferKind {
    Payment,
    Refund,
    Batch,
    Hold,
    Release,
}

impl TransferKind {
    /// The name by which it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Batch => "batch",
            Self::Hold => "hold",
            Self::Release => "release",
        }
    }

    /// Reads a stored name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "payment" => Some(Self::Payment),
            "refund" => Some(Self::Refund),
            "batch" => Some(Self::Batch),
            "hold" => Some(Self::Hold),
            "release" => Some(Self::Release),
            _ => None,
        }
    }
}

/// A posting as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) id: TransferId,
    pub(crate) kind: TransferKind,
    pub(crate) payment_id: Option<PaymentId>,
    pub(crate) refund_id: Option<RefundId>,
    /// The batch itself, or the one that took the transfer.
    pub(crate) batch_id: Option<BatchId>,
    /// By name: a newer build may know more of them.
    pub(crate) components: Vec<(String, Money)>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) channel_transaction_id: Option<String>,
    pub(crate) made_at_channel: bool,
    pub(crate) occur_time: Timestamp,
    pub(crate) post_time: Timestamp,
}

/// One side of a posting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) account_id: AccountId,
    pub(crate) kind: AccountKind,
    pub(crate) direction: Direction,
    pub(crate) amount: Money,
}
