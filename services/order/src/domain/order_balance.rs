//! An order as money meets it: what it costs, what paid it, what of it went back.

use jiff::Timestamp;
use tael_ids::{LineId, MerchantId, OrderId, PaymentId, RefundId};
use tael_money::Money;

use super::order::{Allocation, State};

/// What of an order matters to money that comes or goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrderBalance {
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    pub(crate) state: State,
    pub(crate) total: Money,
    pub(crate) refunded: Money,
}

/// Money that came for an order.
#[derive(Clone, Debug)]
pub(crate) struct PaymentReceived {
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    pub(crate) payment_id: PaymentId,
    pub(crate) amount: Money,
    /// By the channel's clock.
    pub(crate) pay_time: Timestamp,
    pub(crate) traceparent: Option<String>,
}

/// Money of an order that went back.
#[derive(Clone, Debug)]
pub(crate) struct OrderRefund {
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    pub(crate) payment_id: PaymentId,
    pub(crate) refund_id: RefundId,
    pub(crate) amount: Money,
    /// The lines it covers, with their units; none when it is not by line.
    pub(crate) lines: Vec<(LineId, u32)>,
    pub(crate) traceparent: Option<String>,
}

/// A refund that will not happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailedRefund {
    /// The key of the order.
    pub(crate) order: (MerchantId, OrderId),
    pub(crate) refund_id: RefundId,
}

/// What is told contradicts what is known here; a person must look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Contradiction {
    #[error("there is no order {0}")]
    UnknownOrder(OrderId),
    #[error("order {0} was not paid by the payment that is refunded")]
    OtherPayment(OrderId),
    #[error("refunds of order {0} exceed its total")]
    ExceedsTotal(OrderId),
}

impl PaymentReceived {
    /// The key of the order.
    pub(crate) fn order(&self) -> (MerchantId, OrderId) {
        (self.merchant_id, self.order_id)
    }
}

impl OrderRefund {
    /// The key of the order.
    pub(crate) fn order(&self) -> (MerchantId, OrderId) {
        (self.merchant_id, self.order_id)
    }
}

impl OrderBalance {
    /// The order's key.
    pub(crate) fn key(&self) -> (MerchantId, OrderId) {
        (self.merchant_id, self.order_id)
    }

    /// Decides on money that came for the order.
    pub(crate) fn allocate(&self, payment: &PaymentReceived) -> Allocation {
        self.state.allocate(self.total, payment.payment_id, payment.amount)
    }

    /// Has the order take a payment, and returns the state in which it was.
    pub(crate) fn pay(&mut self, payment: &PaymentReceived) -> State {
        std::mem::replace(
            &mut self.state,
            State::Paid { payment_id: Some(payment.payment_id), at: payment.pay_time },
        )
    }

    /// Says whether this payment paid the order.
    pub(crate) fn is_paid_by(&self, payment: PaymentId) -> bool {
        match self.state {
            State::Paid { payment_id, .. } => payment_id == Some(payment),
            State::PendingPayment | State::Cancelled | State::Expired => false,
        }
    }

    /// Whether all of the total went back.
    pub(crate) fn is_fully_refunded(&self) -> bool {
        self.refunded == self.total
    }

    /// Adds a refund to what was refunded of the order.
    pub(crate) fn refund(&mut self, refund: &OrderRefund) -> Result<(), Contradiction> {
        if !self.is_paid_by(refund.payment_id) {
            return Err(Contradiction::OtherPayment(self.order_id));
        }
        let exceeds = || Contradiction::ExceedsTotal(self.order_id);
        let sum = self.refunded.checked_add(refund.amount).map_err(|_| exceeds())?;
        if sum.minor() > self.total.minor() {
            return Err(exceeds());
        }
        self.refunded = sum;
        Ok(())
    }
}
