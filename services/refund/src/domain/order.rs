//! An order as refunds see it: what was paid, and for what.

use jiff::Timestamp;
use tael_ids::{LineId, MerchantId, OrderId, PaymentId};
use tael_money::Money;

/// What matters of an order that was paid.
#[derive(Clone, Debug)]
pub(crate) struct PaidOrder {
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    /// The payment that paid it.
    pub(crate) payment_id: PaymentId,
    pub(crate) total: Money,
    pub(crate) pay_time: Timestamp,
    pub(crate) lines: Vec<PaidLine>,
}

/// A line of a paid order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaidLine {
    pub(crate) line_id: LineId,
    pub(crate) quantity: u32,
    /// What was paid for it.
    pub(crate) total: Money,
    /// Whether its units come as uses of a voucher.
    pub(crate) has_voucher: bool,
}
