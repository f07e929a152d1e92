//! How payments, refunds, batches and suspended money are posted: pure decisions.

use jiff::Timestamp;
use tael_ids::{AttemptId, BatchId, EventId, MerchantId, PaymentId, RefundId, TransferId};
use tael_money::{Money, MoneyError, SplitError, prorate_cumulative};

use crate::domain::fee_schedule::{Fees, Rates};
use crate::domain::ledger::account::{AccountKey, Direction};
use crate::domain::ledger::transfer::{ChannelRef, NewEntry, NewTransfer, TransferReason};

/// The channel took a payer's money.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaymentCaptured {
    pub(crate) merchant_id: MerchantId,
    pub(crate) payment_id: PaymentId,
    pub(crate) attempt_id: AttemptId,
    pub(crate) amount: Money,
    pub(crate) channel_ref: ChannelRef,
    pub(crate) occur_time: Timestamp,
}

/// The channel gave money back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefundCompleted {
    pub(crate) merchant_id: MerchantId,
    pub(crate) payment_id: PaymentId,
    pub(crate) refund_id: RefundId,
    /// As in [`TransferReason::Refund`].
    pub(crate) reversed_attempt: Option<AttemptId>,
    pub(crate) amount: Money,
    /// The sum of the payment's refunds, this one included. Shares of fees go by it and not by what was posted
    /// before, so that they add up in whatever order refunds arrive.
    pub(crate) refunded_total: Money,
    pub(crate) channel_ref: ChannelRef,
    pub(crate) occur_time: Timestamp,
}

/// A payment's money was put into suspense, or taken out of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspension {
    pub(crate) merchant_id: MerchantId,
    pub(crate) payment_id: PaymentId,
    /// All that the payment brought; a release is of the same amount.
    pub(crate) amount: Money,
    pub(crate) event_id: EventId,
    pub(crate) occur_time: Timestamp,
}

/// What a refund needs to know of its payment's posting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PostedPayment {
    pub(crate) amount: Money,
    pub(crate) fees: Fees,
}

/// Why something can't be posted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostingError {
    #[error("payment {0}: the amount is not above zero")]
    NoAmount(PaymentId),
    #[error("refund {0}: the amount is not above zero")]
    NoRefundAmount(RefundId),
    #[error("refund {refund_id}: payment {payment_id} was never posted")]
    UnknownPayment { refund_id: RefundId, payment_id: PaymentId },
    #[error("refund {refund_id}: the refunded total does not lie within payment {payment_id}")]
    ExceedsPayment { refund_id: RefundId, payment_id: PaymentId, source: SplitError },
    #[error("an amount overflows or is in another currency")]
    Money(#[from] MoneyError),
}

/// Posts a payment of P with the fee F and the channel's expected fee C: the channel owes P − C, the channel's fee cost
/// C, the merchant is owed P − F, the fee brought F.
pub(crate) fn payment(taken: &PaymentCaptured, rates: Rates) -> Result<NewTransfer, PostingError> {
    if !taken.amount.is_positive() {
        return Err(PostingError::NoAmount(taken.payment_id));
    }
    let fees = rates.of(taken.amount);
    let accounts = Accounts::of(taken.merchant_id, taken.channel_ref, taken.amount);
    Ok(NewTransfer {
        id: TransferId::new(),
        merchant_id: taken.merchant_id,
        reason: TransferReason::Payment {
            payment_id: taken.payment_id,
            attempt_id: taken.attempt_id,
            rates,
            channel_ref: taken.channel_ref,
        },
        gross: taken.amount,
        fees,
        occur_time: taken.occur_time,
        entries: without_zeros([
            (accounts.receivable, Direction::Debit, taken.amount.checked_sub(fees.channel_fee)?),
            (accounts.cost, Direction::Debit, fees.channel_fee),
            (accounts.payable, Direction::Credit, taken.amount.checked_sub(fees.fee)?),
            (accounts.income, Direction::Credit, fees.fee),
        ]),
    })
}

/// Posts a refund of R: what its payment posted, turned round, for R and its shares of the payment's fees. Once all of
/// the payment is refunded, all of both fees has been given back, however many refunds it took.
pub(crate) fn refund(made: &RefundCompleted, of: &PostedPayment) -> Result<NewTransfer, PostingError> {
    if !made.amount.is_positive() {
        return Err(PostingError::NoRefundAmount(made.refund_id));
    }
    let before = made.refunded_total.checked_sub(made.amount)?;
    // Refuses what is in another currency than the payment.
    of.amount.checked_sub(made.amount)?;
    let share = |whole: Money| {
        prorate_cumulative(whole, before.minor(), made.refunded_total.minor(), of.amount.minor()).map_err(
            |source| PostingError::ExceedsPayment {
                refund_id: made.refund_id,
                payment_id: made.payment_id,
                source,
            },
        )
    };
    let fees = Fees { fee: share(of.fees.fee)?, channel_fee: share(of.fees.channel_fee)? };
    let accounts = Accounts::of(made.merchant_id, made.channel_ref, made.amount);
    Ok(NewTransfer {
        id: TransferId::new(),
        merchant_id: made.merchant_id,
        reason: TransferReason::Refund {
            payment_id: made.payment_id,
            refund_id: made.refund_id,
            reversed_attempt: made.reversed_attempt,
            refunded_total: made.refunded_total,
            channel_ref: made.channel_ref,
        },
        gross: made.amount,
        fees,
        occur_time: made.occur_time,
        entries: without_zeros([
            (accounts.payable, Direction::Debit, made.amount.checked_sub(fees.fee)?),
            (accounts.income, Direction::Debit, fees.fee),
            (accounts.receivable, Direction::Credit, made.amount.checked_sub(fees.channel_fee)?),
            (accounts.cost, Direction::Credit, fees.channel_fee),
        ]),
    })
}

/// Posts a batch: its net amount leaves what the merchant is owed and becomes what is to be paid out, or the other way
/// round when it is negative. A batch whose refunds and payments even out moves nothing.
pub(crate) fn batch(
    merchant_id: MerchantId,
    batch_id: BatchId,
    net: Money,
    close_time: Timestamp,
) -> Result<Option<NewTransfer>, PostingError> {
    if net.is_zero() {
        return Ok(None);
    }
    let payable = AccountKey::merchant_payable(merchant_id, net.currency());
    let payout = AccountKey::payout_payable(merchant_id, net.currency());
    let (from, to, amount) =
        if net.is_positive() { (payable, payout, net) } else { (payout, payable, net.checked_neg()?) };
    let nothing = Money::zero(net.currency());
    Ok(Some(NewTransfer {
        id: TransferId::new(),
        merchant_id,
        reason: TransferReason::Batch { batch_id },
        gross: amount,
        fees: Fees { fee: nothing, channel_fee: nothing },
        occur_time: close_time,
        entries: without_zeros([(from, Direction::Debit, amount), (to, Direction::Credit, amount)]),
    }))
}

/// Posts money that its order could not take: it is not owed to the merchant until that is decided. The payment itself
/// is posted by its own event, before this or after it, so that what the merchant is owed may be negative in between.
pub(crate) fn hold(held: &Suspension) -> Result<NewTransfer, PostingError> {
    let Suspension { payment_id, event_id, .. } = *held;
    let payable = AccountKey::merchant_payable(held.merchant_id, held.amount.currency());
    let suspense = AccountKey::suspense(held.merchant_id, held.amount.currency());
    suspension(held, TransferReason::Hold { payment_id, event_id }, payable, suspense)
}

/// Posts the end of a hold: the money is owed to the merchant as if it never had been held. When the payer gets it
/// back, the refund is posted by its own event.
pub(crate) fn release(released: &Suspension) -> Result<NewTransfer, PostingError> {
    let Suspension { payment_id, event_id, .. } = *released;
    let payable = AccountKey::merchant_payable(released.merchant_id, released.amount.currency());
    let suspense = AccountKey::suspense(released.merchant_id, released.amount.currency());
    suspension(released, TransferReason::Release { payment_id, event_id }, suspense, payable)
}

fn suspension(
    moved: &Suspension,
    reason: TransferReason,
    from: AccountKey,
    to: AccountKey,
) -> Result<NewTransfer, PostingError> {
    if !moved.amount.is_positive() {
        return Err(PostingError::NoAmount(moved.payment_id));
    }
    let nothing = Money::zero(moved.amount.currency());
    Ok(NewTransfer {
        id: TransferId::new(),
        merchant_id: moved.merchant_id,
        reason,
        gross: moved.amount,
        fees: Fees { fee: nothing, channel_fee: nothing },
        occur_time: moved.occur_time,
        entries: without_zeros([
            (from, Direction::Debit, moved.amount),
            (to, Direction::Credit, moved.amount),
        ]),
    })
}

/// The accounts that payments and refunds move.
struct Accounts {
    receivable: AccountKey,
    cost: AccountKey,
    payable: AccountKey,
    income: AccountKey,
}

impl Accounts {
    fn of(merchant_id: MerchantId, channel_ref: ChannelRef, amount: Money) -> Self {
        let currency = amount.currency();
        Self {
            receivable: AccountKey::channel_receivable(merchant_id, channel_ref.channel, currency),
            cost: AccountKey::channel_cost(merchant_id, channel_ref.channel, currency),
            payable: AccountKey::merchant_payable(merchant_id, currency),
            income: AccountKey::fee_income(merchant_id, currency),
        }
    }
}

fn without_zeros<const N: usize>(sides: [(AccountKey, Direction, Money); N]) -> Vec<NewEntry> {
    sides
        .into_iter()
        .filter(|(_, _, amount)| !amount.is_zero())
        .map(|(account, direction, amount)| NewEntry { account, direction, amount })
        .collect()
}

#[cfg(test)]
mod tests;
