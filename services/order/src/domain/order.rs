//! Orders and the ways they go.
//!
//! ```text
//!  pending_payment ─▶ paid ◀── late payment accepted ──┐
//!        ├──────────▶ cancelled ───────────────────────┤
//!        └──────────▶ expired ─────────────────────────┘
//! ```
//!
//! What was refunded of a paid order is beside its state, not in it.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use tael_ids::{LineId, MerchantId, OrderId, PaymentId};
use tael_money::Money;

use super::price::{Basket, Item, LinePrice, Price};

/// What a buyer buys from a merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) merchant_id: MerchantId,
    /// The merchant's own number; may be empty.
    pub(crate) merchant_reference: String,
    pub(crate) state: State,
    pub(crate) lines: Vec<Line>,
    pub(crate) price: Price,
    /// At most the total; above zero only when paid.
    pub(crate) refunded: Money,
    pub(crate) create_time: Timestamp,
    pub(crate) expire_time: Timestamp,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Waits for its payment until it expires.
    PendingPayment,
    /// Paid in full by this payment, at this time by the channel's clock; by none and by our clock when there was nothing to
    /// pay.
    Paid { payment_id: Option<PaymentId>, at: Timestamp },
    /// Given up by request before it was paid.
    Cancelled,
    /// Not paid in time.
    Expired,
}

/// What may be asked of an order that is not paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GiveUp {
    Cancel,
    Expire,
}

/// What a command to give up comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The order moves, once its payment is known to be closed.
    Move,
    /// It stands there already.
    AlreadyDone,
    /// It can't.
    Refuse,
}

/// What becomes of money that came for an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// It pays the order.
    Pays,
    /// It paid the order before.
    AlreadyApplied,
    /// The order can't take it, for this reason.
    Unapplied(UnappliedReason),
}

/// Why an order could not take money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnappliedReason {
    /// It was cancelled or had expired.
    ClosedOrder,
    /// Another payment had paid it.
    AlreadyPaid,
    /// The amount was not its total.
    Amount,
}

impl UnappliedReason {
    /// The name under which it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ClosedOrder => "closed_order",
            Self::AlreadyPaid => "already_paid",
            Self::Amount => "amount",
        }
    }
}

impl State {
    /// The state's name, as it is stored and shown in errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::PendingPayment => "pending_payment",
            Self::Paid { .. } => "paid",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }

    /// Decides on giving an order up.
    pub(crate) fn give_up(self, how: GiveUp) -> Decision {
        match (self, how) {
            (Self::PendingPayment, GiveUp::Cancel | GiveUp::Expire) => Decision::Move,
            (Self::Cancelled, GiveUp::Cancel) | (Self::Expired, GiveUp::Expire) => Decision::AlreadyDone,
            (Self::Cancelled, GiveUp::Expire)
            | (Self::Expired, GiveUp::Cancel)
            | (Self::Paid { .. }, GiveUp::Cancel | GiveUp::Expire) => Decision::Refuse,
        }
    }

    /// Decides on money that came for an order with this total.
    pub(crate) fn allocate(self, total: Money, payment: PaymentId, amount: Money) -> Allocation {
        match self {
            Self::PendingPayment if amount == total => Allocation::Pays,
            Self::Paid { payment_id, .. } if payment_id == Some(payment) => Allocation::AlreadyApplied,
            Self::PendingPayment => Allocation::Unapplied(UnappliedReason::Amount),
            // A wrong amount stays wrong whatever the order does, and so the reason can be told afterwards, too.
            Self::Paid { .. } | Self::Cancelled | Self::Expired if amount != total => {
                Allocation::Unapplied(UnappliedReason::Amount)
            }
            Self::Paid { .. } => Allocation::Unapplied(UnappliedReason::AlreadyPaid),
            Self::Cancelled | Self::Expired => Allocation::Unapplied(UnappliedReason::ClosedOrder),
        }
    }
}

/// One item of an order with its share of the discount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) id: LineId,
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) item: Item,
    pub(crate) price: LinePrice,
    pub(crate) fulfilment: Fulfilment,
}

/// How the buyer gets a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fulfilment {
    Shipped,
    /// By a voucher with one use per unit, issued when the order is paid.
    Voucher,
}

impl Fulfilment {
    /// The name under which it is stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shipped => "shipped",
            Self::Voucher => "voucher",
        }
    }
}

/// How to reach the buyer. Personal data: it does not show itself in logs.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Contact {
    pub(crate) name: String,
    pub(crate) phone: String,
    pub(crate) email: String,
    pub(crate) address: String,
}

impl fmt::Debug for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Contact(…)")
    }
}

/// How much of a paid order was refunded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefundProgress {
    Nothing,
    Partial,
    Full,
}

impl Order {
    /// How much of the total was refunded.
    pub(crate) fn refund_progress(&self) -> RefundProgress {
        if self.refunded.is_zero() {
            RefundProgress::Nothing
        } else if self.refunded == self.price.total {
            RefundProgress::Full
        } else {
            RefundProgress::Partial
        }
    }
}

/// An order to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewOrder {
    pub(crate) merchant_id: MerchantId,
    pub(crate) merchant_reference: String,
    pub(crate) lines: Vec<NewLine>,
    /// The items of these lines, in their order.
    pub(crate) basket: Basket,
    pub(crate) contact: Option<Contact>,
    /// Whole microseconds, as times are kept.
    pub(crate) expire_after: SignedDuration,
}

/// A line to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewLine {
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) item: Item,
    pub(crate) fulfilment: Fulfilment,
}

impl NewOrder {
    /// The order as it begins, at this price: paid when there is nothing to pay.
    pub(crate) fn place(self, price: Price, lines: Vec<LinePrice>, now: Timestamp) -> Order {
        let lines = self.lines.into_iter().zip(lines).map(|(line, price)| Line {
            id: LineId::new(),
            sku: line.sku,
            name: line.name,
            item: line.item,
            price,
            fulfilment: line.fulfilment,
        });
        Order {
            id: OrderId::new(),
            merchant_id: self.merchant_id,
            merchant_reference: self.merchant_reference,
            state: if price.total.is_zero() {
                State::Paid { payment_id: None, at: now }
            } else {
                State::PendingPayment
            },
            lines: lines.collect(),
            price,
            refunded: Money::zero(price.total.currency()),
            create_time: now,
            expire_time: now + self.expire_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use tael_money::Currency;

    use super::*;

    #[test]
    fn every_state_and_way_of_giving_up() {
        let paid = State::Paid { payment_id: Some(PaymentId::new()), at: Timestamp::UNIX_EPOCH };
        let table = [
            (State::PendingPayment, GiveUp::Cancel, Decision::Move),
            (State::PendingPayment, GiveUp::Expire, Decision::Move),
            (paid, GiveUp::Cancel, Decision::Refuse),
            (paid, GiveUp::Expire, Decision::Refuse),
            (State::Cancelled, GiveUp::Cancel, Decision::AlreadyDone),
            (State::Cancelled, GiveUp::Expire, Decision::Refuse),
            (State::Expired, GiveUp::Cancel, Decision::Refuse),
            (State::Expired, GiveUp::Expire, Decision::AlreadyDone),
        ];
        for (state, how, expected) in table {
            assert_eq!(state.give_up(how), expected, "{state:?} {how:?}");
        }
    }

    #[test]
    fn every_state_and_money() {
        let total = Money::new(1_000, Currency::CNY);
        let less = Money::new(999, Currency::CNY);
        let foreign = Money::new(1_000, Currency::USD);
        let (ours, other) = (PaymentId::new(), PaymentId::new());
        let paid = State::Paid { payment_id: Some(ours), at: Timestamp::UNIX_EPOCH };
        let free = State::Paid { payment_id: None, at: Timestamp::UNIX_EPOCH };
        let table = [
            (State::PendingPayment, ours, total, Allocation::Pays),
            (State::PendingPayment, ours, less, Allocation::Unapplied(UnappliedReason::Amount)),
            (State::PendingPayment, ours, foreign, Allocation::Unapplied(UnappliedReason::Amount)),
            (paid, ours, total, Allocation::AlreadyApplied),
            (paid, ours, less, Allocation::AlreadyApplied),
            (paid, other, total, Allocation::Unapplied(UnappliedReason::AlreadyPaid)),
            (paid, other, less, Allocation::Unapplied(UnappliedReason::Amount)),
            (free, ours, less, Allocation::Unapplied(UnappliedReason::Amount)),
            (State::Cancelled, ours, total, Allocation::Unapplied(UnappliedReason::ClosedOrder)),
            (State::Cancelled, ours, less, Allocation::Unapplied(UnappliedReason::Amount)),
            (State::Expired, ours, total, Allocation::Unapplied(UnappliedReason::ClosedOrder)),
            (State::Expired, ours, foreign, Allocation::Unapplied(UnappliedReason::Amount)),
        ];
        for (state, payment, amount, expected) in table {
            assert_eq!(state.allocate(total, payment, amount), expected, "{state:?} {amount}");
        }
    }
}
