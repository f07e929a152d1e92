//! The names of the event kinds, as receivers of webhooks and readers of the table see them.

use tael_proto::event::v1::payload::Kind;

/// All names that [`kind_name`] gives.
pub const KINDS: &[&str] = &[
    "merchant.registered",
    "merchant.approved",
    "order.created",
    "order.paid",
    "order.cancelled",
    "order.expired",
    "order.payment_held",
    "order.payment_released",
    "voucher.issued",
    "voucher.redeemed",
    "order.refunded",
    "payment.created",
    "payment.succeeded",
    "payment.closed",
    "payment.failed",
    "payment.refunded",
    "payment.refund_failed",
    "payment.alarm_raised",
    "refund.created",
    "refund.succeeded",
    "refund.failed",
    "batch.closed",
];

/// Returns the name of an event's kind.
pub fn kind_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::MerchantRegistered(_) => "merchant.registered",
        Kind::MerchantApproved(_) => "merchant.approved",
        Kind::OrderCreated(_) => "order.created",
        Kind::OrderPaid(_) => "order.paid",
        Kind::OrderCancelled(_) => "order.cancelled",
        Kind::OrderExpired(_) => "order.expired",
        Kind::OrderPaymentHeld(_) => "order.payment_held",
        Kind::OrderPaymentReleased(_) => "order.payment_released",
        Kind::VoucherIssued(_) => "voucher.issued",
        Kind::VoucherRedeemed(_) => "voucher.redeemed",
        Kind::OrderRefunded(_) => "order.refunded",
        Kind::PaymentCreated(_) => "payment.created",
        Kind::PaymentSucceeded(_) => "payment.succeeded",
        Kind::PaymentClosed(_) => "payment.closed",
        Kind::PaymentFailed(_) => "payment.failed",
        Kind::PaymentRefunded(_) => "payment.refunded",
        Kind::PaymentRefundFailed(_) => "payment.refund_failed",
        // Called as it always was: receivers of webhooks choose events by this name.
        Kind::PaymentIntegrityAlertRaised(_) => "payment.alarm_raised",
        Kind::RefundCreated(_) => "refund.created",
        Kind::RefundSucceeded(_) => "refund.succeeded",
        Kind::RefundFailed(_) => "refund.failed",
        Kind::BatchClosed(_) => "batch.closed",
    }
}

/// The ids of what an event is about, for its span.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject<'a> {
    pub(crate) order: Option<&'a str>,
    pub(crate) payment: Option<&'a str>,
    pub(crate) refund: Option<&'a str>,
}

/// Returns which things an event is about.
pub(crate) fn subject(kind: &Kind) -> Subject<'_> {
    let (order, payment, refund) = match kind {
        Kind::MerchantRegistered(_) | Kind::MerchantApproved(_) | Kind::BatchClosed(_) => ("", "", ""),
        Kind::OrderCreated(e) => (e.order_id.as_str(), "", ""),
        Kind::OrderPaid(e) => (e.order_id.as_str(), e.payment_id.as_str(), ""),
        Kind::OrderCancelled(e) => (e.order_id.as_str(), "", ""),
        Kind::OrderExpired(e) => (e.order_id.as_str(), "", ""),
        Kind::OrderPaymentHeld(e) => (e.order_id.as_str(), e.payment_id.as_str(), ""),
        Kind::OrderPaymentReleased(e) => (e.order_id.as_str(), e.payment_id.as_str(), ""),
        Kind::VoucherIssued(e) => (e.order_id.as_str(), "", ""),
        Kind::VoucherRedeemed(e) => (e.order_id.as_str(), "", ""),
        Kind::OrderRefunded(e) => (e.order_id.as_str(), "", e.refund_id.as_str()),
        Kind::PaymentCreated(e) => (e.order_id.as_str(), e.payment_id.as_str(), ""),
        Kind::PaymentSucceeded(e) => (e.order_id.as_str(), e.payment_id.as_str(), ""),
        Kind::PaymentClosed(e) => (e.order_id.as_str(), e.payment_id.as_str(), ""),
        Kind::PaymentFailed(e) => (e.order_id.as_str(), e.payment_id.as_str(), ""),
        Kind::PaymentRefunded(e) => (e.order_id.as_str(), e.payment_id.as_str(), e.refund_id.as_str()),
        Kind::PaymentRefundFailed(e) => ("", e.payment_id.as_str(), e.refund_id.as_str()),
        Kind::PaymentIntegrityAlertRaised(e) => ("", e.payment_id.as_str(), ""),
        Kind::RefundCreated(e) => (e.order_id.as_str(), e.payment_id.as_str(), e.refund_id.as_str()),
        Kind::RefundSucceeded(e) => (e.order_id.as_str(), e.payment_id.as_str(), e.refund_id.as_str()),
        Kind::RefundFailed(e) => (e.order_id.as_str(), e.payment_id.as_str(), e.refund_id.as_str()),
    };
    Subject { order: told(order), payment: told(payment), refund: told(refund) }
}

/// An id that is there; an event of old may lack one.
fn told(id: &str) -> Option<&str> {
    Some(id).filter(|id| !id.is_empty())
}
