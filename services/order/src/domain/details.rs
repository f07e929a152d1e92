//! An order with all that belongs to it, as it is shown.

use super::order::Order;
use super::unapplied_payment::UnappliedPayment;
use super::voucher::Voucher;

/// An order with its vouchers and with the payments that it could not take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderDetails {
    pub(crate) order: Order,
    pub(crate) vouchers: Vec<Voucher>,
    pub(crate) unapplied_payments: Vec<UnappliedPayment>,
}

impl From<Order> for OrderDetails {
    /// An order to which nothing belongs yet.
    fn from(order: Order) -> Self {
        Self { order, vouchers: Vec::new(), unapplied_payments: Vec::new() }
    }
}
