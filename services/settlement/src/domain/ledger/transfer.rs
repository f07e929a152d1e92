//! Transfers: postings whose debits equal their credits.

use jiff::Timestamp;
use tael_ids::{
    AccountId, AttemptId, BatchId, ChannelAccountId, EventId, MerchantId, PaymentId, RefundId, TransferId,
};
use tael_money::Money;

use crate::domain::channel::Channel;
use crate::domain::fee_schedule::{Fees, Rates};
use crate::domain::ledger::account::{AccountKey, AccountKind, Direction};

/// A posting to be made. What it says of an account is by the account's key; the store knows ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewTransfer {
    pub(crate) id: TransferId,
    pub(crate) merchant_id: MerchantId,
    pub(crate) reason: TransferReason,
    /// What moved; above zero.
    pub(crate) gross: Money,
    pub(crate) fees: Fees,
    pub(crate) occur_time: Timestamp,
    pub(crate) entries: Vec<NewEntry>,
}

/// Why money moved, and what only that reason has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransferReason {
    Payment {
        payment_id: PaymentId,
        attempt_id: AttemptId,
        rates: Rates,
        channel_ref: ChannelRef,
    },
    Refund {
        payment_id: PaymentId,
        refund_id: RefundId,
        /// The attempt that the channel gave back by itself, in closing it. The channel was never told of a refund then.
        reversed_attempt: Option<AttemptId>,
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

/// Where a movement took place, and the event that told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChannelRef {
    pub(crate) channel: Channel,
    pub(crate) channel_account_id: ChannelAccountId,
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
    pub(crate) fn channel_ref(&self) -> Option<ChannelRef> {
        match self {
            Self::Payment { channel_ref, .. } | Self::Refund { channel_ref, .. } => Some(*channel_ref),
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

    /// The number that the channel was given, by which its bill is matched. A payment and its reversal share theirs:
    /// it is a number together with the kind that stands for one movement.
    pub(crate) fn number(&self) -> Option<String> {
        match self {
            Self::Payment { attempt_id, .. } | Self::Refund { reversed_attempt: Some(attempt_id), .. } => {
                Some(attempt_id.channel_number())
            }
            Self::Refund { reversed_attempt: None, refund_id, .. } => Some(refund_id.channel_number()),
            Self::Batch { .. } | Self::Hold { .. } | Self::Release { .. } => None,
        }
    }

    pub(crate) fn rates(&self) -> Option<Rates> {
        match self {
            Self::Payment { rates, .. } => Some(*rates),
            Self::Refund { .. } | Self::Batch { .. } | Self::Hold { .. } | Self::Release { .. } => None,
        }
    }

    pub(crate) fn refunded_total(&self) -> Option<Money> {
        match self {
            Self::Refund { refunded_total, .. } => Some(*refunded_total),
            Self::Payment { .. } | Self::Batch { .. } | Self::Hold { .. } | Self::Release { .. } => None,
        }
    }
}

/// Why money moved, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub(crate) entries: Vec<Entry>,
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
