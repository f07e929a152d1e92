//! How payments, refunds, batches and suspended money are posted: pure decisions. Each says what a transfer is made of; the
//! entries follow by the rules.

use jiff::Timestamp;
use tael_ids::{AttemptId, BatchId, EventId, MerchantId, PaymentId, RefundId, TransferId};
use tael_money::{Money, MoneyError, SplitError, prorate_cumulative};

use crate::domain::fee_schedule::TermsInForce;
use crate::domain::ledger::rules::PostingRules;
use crate::domain::ledger::transfer::{
    ChannelRef, Component, Components, NewTransfer, RefundOrigin, TransferReason,
};

/// The channel has a payer's money.
#[derive(Clone, Debug)]
pub(crate) struct PaymentCaptured {
    pub(crate) merchant_id: MerchantId,
    pub(crate) payment_id: PaymentId,
    pub(crate) attempt_id: AttemptId,
    /// What was to be paid.
    pub(crate) amount: Money,
    /// What the channel pays out of it, before its fee: the rest was taken off by a coupon of the merchant's own.
    pub(crate) received: Money,
    pub(crate) channel_ref: ChannelRef,
    pub(crate) occur_time: Timestamp,
}

/// The channel gave money back.
#[derive(Clone, Debug)]
pub(crate) struct RefundCompleted {
    pub(crate) merchant_id: MerchantId,
    pub(crate) payment_id: PaymentId,
    pub(crate) refund_id: RefundId,
    pub(crate) origin: RefundOrigin,
    pub(crate) amount: Money,
    /// What the channel takes back of what it pays out; its share of the payment's when the channel does not say.
    pub(crate) received: Option<Money>,
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
    pub(crate) received: Money,
    pub(crate) fee: PostedFee,
    pub(crate) channel_fee: PostedFee,
}

/// A fee that was charged, and whether refunds give their share of it back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PostedFee {
    pub(crate) amount: Money,
    pub(crate) is_returned: bool,
}

/// Why something can't be posted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostingError {
    #[error("payment {0}: the amount is not above zero")]
    NoAmount(PaymentId),
    #[error("payment {0}: what is received of it does not lie within its amount")]
    ReceivedBeyondAmount(PaymentId),
    #[error("refund {0}: the amount is not above zero")]
    NoRefundAmount(RefundId),
    #[error("refund {0}: what is taken back of it does not lie within its amount")]
    TakenBackBeyondAmount(RefundId),
    #[error("refund {refund_id}: payment {payment_id} was never posted")]
    UnknownPayment { refund_id: RefundId, payment_id: PaymentId },
    #[error("refund {refund_id}: the refunded total does not lie within payment {payment_id}")]
    ExceedsPayment { refund_id: RefundId, payment_id: PaymentId, source: SplitError },
    #[error("an amount overflows or is in another currency")]
    Money(#[from] MoneyError),
}

/// Posts a payment of which R is received, with the fee F and the channel's expected fee C, both of what is received: the
/// channel owes R − C, the channel's fee cost C, the merchant is owed R − F, the fee brought F. What a coupon of the
/// merchant's own took off moves nothing.
pub(crate) fn payment(
    captured: &PaymentCaptured,
    in_force: TermsInForce,
    rules: &PostingRules,
) -> Result<NewTransfer, PostingError> {
    let PaymentCaptured { payment_id, amount, received, .. } = *captured;
    if !amount.is_positive() {
        return Err(PostingError::NoAmount(payment_id));
    }
    let coupon = amount.checked_sub(received)?;
    if received.is_negative() || coupon.is_negative() {
        return Err(PostingError::ReceivedBeyondAmount(payment_id));
    }
    let components = Components::new([
        (Component::Received, received),
        (Component::Coupon, coupon),
        (Component::Fee, in_force.terms.fee.of(received)),
        (Component::ChannelFee, in_force.terms.channel_fee.of(received)),
    ]);
    let reason = TransferReason::Payment {
        payment_id,
        attempt_id: captured.attempt_id,
        terms: in_force,
        channel_ref: captured.channel_ref.clone(),
    };
    Ok(transfer(captured.merchant_id, reason, amount, components, captured.occur_time, rules)?)
}

/// Posts a refund: what its payment posted, turned round, for its shares of what was received and of the payment's fees.
/// Once all of the payment is refunded, all of that has been given back, however many refunds it took; but for fees that
/// are kept.
pub(crate) fn refund(
    completed: &RefundCompleted,
    of: &PostedPayment,
    rules: &PostingRules,
) -> Result<NewTransfer, PostingError> {
    let RefundCompleted { payment_id, refund_id, amount, refunded_total, .. } = *completed;
    if !amount.is_positive() {
        return Err(PostingError::NoRefundAmount(refund_id));
    }
    let before = refunded_total.checked_sub(amount)?;
    // Refuses what is in another currency than the payment.
    of.amount.checked_sub(amount)?;
    let share = |whole: Money| {
        prorate_cumulative(whole, before.minor(), refunded_total.minor(), of.amount.minor())
            .map_err(|source| PostingError::ExceedsPayment { refund_id, payment_id, source })
    };
    let received = match completed.received {
        Some(received) => received,
        None => share(of.received)?,
    };
    let coupon = amount.checked_sub(received)?;
    if received.is_negative() || coupon.is_negative() {
        return Err(PostingError::TakenBackBeyondAmount(refund_id));
    }
    let returned =
        |fee: PostedFee| share(if fee.is_returned { fee.amount } else { Money::zero(amount.currency()) });
    let components = Components::new([
        (Component::Received, received),
        (Component::Coupon, coupon),
        (Component::Fee, returned(of.fee)?),
        (Component::ChannelFee, returned(of.channel_fee)?),
    ]);
    let reason = TransferReason::Refund {
        payment_id,
        refund_id,
        origin: completed.origin.clone(),
        refunded_total,
        channel_ref: completed.channel_ref.clone(),
    };
    Ok(transfer(completed.merchant_id, reason, amount, components, completed.occur_time, rules)?)
}

/// Posts a batch: its net amount leaves what the merchant is owed and becomes what is to be paid out, or the other way
/// round when it is negative. A batch whose refunds and payments even out moves nothing.
pub(crate) fn batch(
    merchant_id: MerchantId,
    batch_id: BatchId,
    net: Money,
    close_time: Timestamp,
    rules: &PostingRules,
) -> Result<Option<NewTransfer>, PostingError> {
    if net.is_zero() {
        return Ok(None);
    }
    let gross = if net.is_negative() { net.checked_neg()? } else { net };
    let components = Components::new([(Component::Net, net)]);
    let reason = TransferReason::Batch { batch_id };
    Ok(Some(transfer(merchant_id, reason, gross, components, close_time, rules)?))
}

/// Posts money that its order could not take: it is not owed to the merchant until that is decided. The payment itself
/// is posted by its own event, before this or after it, so that what the merchant is owed may be negative in between.
pub(crate) fn hold(held: &Suspension, rules: &PostingRules) -> Result<NewTransfer, PostingError> {
    let Suspension { payment_id, event_id, .. } = *held;
    suspension(held, TransferReason::Hold { payment_id, event_id }, rules)
}

/// Posts the end of a hold: the money is owed to the merchant as if it never had been held. When the payer gets it
/// back, the refund is posted by its own event.
pub(crate) fn release(released: &Suspension, rules: &PostingRules) -> Result<NewTransfer, PostingError> {
    let Suspension { payment_id, event_id, .. } = *released;
    suspension(released, TransferReason::Release { payment_id, event_id }, rules)
}

fn suspension(
    moved: &Suspension,
    reason: TransferReason,
    rules: &PostingRules,
) -> Result<NewTransfer, PostingError> {
    if !moved.amount.is_positive() {
        return Err(PostingError::NoAmount(moved.payment_id));
    }
    let components = Components::new([(Component::Held, moved.amount)]);
    Ok(transfer(moved.merchant_id, reason, moved.amount, components, moved.occur_time, rules)?)
}

fn transfer(
    merchant_id: MerchantId,
    reason: TransferReason,
    gross: Money,
    components: Components,
    occur_time: Timestamp,
    rules: &PostingRules,
) -> Result<NewTransfer, MoneyError> {
    let channel = reason.channel_ref().map(|at| at.channel);
    let entries = rules.entries(reason.kind(), &components, merchant_id, channel, gross.currency())?;
    Ok(NewTransfer { id: TransferId::new(), merchant_id, reason, gross, components, occur_time, entries })
}

#[cfg(test)]
mod tests;
