//! What this service tells in its log.

use jiff::Timestamp;
use tael_eventlog::NewEvent;
use tael_grpc::convert;
use tael_ids::{MerchantId, OrderId};
use tael_money::Money;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{
    OrderCancelled, OrderCreated, OrderExpired, OrderPaid, OrderPaymentHeld, OrderPaymentReleased,
    OrderRefunded, VoucherIssued, VoucherRedeemed,
};

use crate::domain::order::Order;
use crate::domain::order_balance::{OrderRefund, PaymentReceived};
use crate::domain::unapplied_payment::UnappliedPayment;
use crate::domain::voucher::{NewRedemption, Voucher};

/// An order was priced and stored.
pub(crate) fn created(order: &Order) -> NewEvent {
    let kind = Kind::OrderCreated(OrderCreated {
        order_id: order.id.to_string(),
        total: Some(convert::money(order.price.total)),
        expire_time: Some(convert::timestamp(order.expire_time)),
    });
    of_order(order.merchant_id, order.id, kind, order.create_time)
}

/// An order was given up by request.
pub(crate) fn cancelled(merchant_id: MerchantId, id: OrderId, now: Timestamp) -> NewEvent {
    let kind = Kind::OrderCancelled(OrderCancelled { order_id: id.to_string() });
    of_order(merchant_id, id, kind, now)
}

/// An order ran out of time.
pub(crate) fn expired(merchant_id: MerchantId, id: OrderId, now: Timestamp) -> NewEvent {
    let kind = Kind::OrderExpired(OrderExpired { order_id: id.to_string() });
    of_order(merchant_id, id, kind, now)
}

/// An order was paid.
pub(crate) fn paid(payment: &PaymentReceived, now: Timestamp) -> NewEvent {
    let kind = Kind::OrderPaid(OrderPaid {
        order_id: payment.order_id.to_string(),
        payment_id: payment.payment_id.to_string(),
        amount: Some(convert::money(payment.amount)),
    });
    let event = of_order(payment.merchant_id, payment.order_id, kind, now);
    NewEvent { traceparent: payment.traceparent.clone(), ..event }
}

/// An order was made of which nothing is to be paid.
pub(crate) fn paid_without_money(order: &Order) -> NewEvent {
    let kind = Kind::OrderPaid(OrderPaid {
        order_id: order.id.to_string(),
        payment_id: String::new(),
        amount: Some(convert::money(order.price.total)),
    });
    of_order(order.merchant_id, order.id, kind, order.create_time)
}

/// Money came that an order could not take.
pub(crate) fn held(payment: &PaymentReceived, now: Timestamp) -> NewEvent {
    let kind = Kind::OrderPaymentHeld(OrderPaymentHeld {
        order_id: payment.order_id.to_string(),
        payment_id: payment.payment_id.to_string(),
        amount: Some(convert::money(payment.amount)),
    });
    let event = of_order(payment.merchant_id, payment.order_id, kind, now);
    NewEvent { traceparent: payment.traceparent.clone(), ..event }
}

/// The order took a payment that had been held, and is paid.
pub(crate) fn accepted(payment: &PaymentReceived, now: Timestamp) -> [NewEvent; 2] {
    let kind = Kind::OrderPaymentReleased(OrderPaymentReleased {
        order_id: payment.order_id.to_string(),
        payment_id: payment.payment_id.to_string(),
        amount: Some(convert::money(payment.amount)),
        accepted: true,
    });
    let event = of_order(payment.merchant_id, payment.order_id, kind, now);
    [NewEvent { traceparent: payment.traceparent.clone(), ..event }, paid(payment, now)]
}

/// The payer got an unapplied payment back.
pub(crate) fn given_back(
    merchant_id: MerchantId,
    payment: &UnappliedPayment,
    traceparent: Option<String>,
    now: Timestamp,
) -> NewEvent {
    let kind = Kind::OrderPaymentReleased(OrderPaymentReleased {
        order_id: payment.order_id.to_string(),
        payment_id: payment.payment_id.to_string(),
        amount: Some(convert::money(payment.amount)),
        accepted: false,
    });
    NewEvent { traceparent, ..of_order(merchant_id, payment.order_id, kind, now) }
}

/// A part of an order was refunded; `refunded` is the sum so far.
pub(crate) fn refunded(refund: &OrderRefund, refunded: Money, now: Timestamp) -> NewEvent {
    let kind = Kind::OrderRefunded(OrderRefunded {
        order_id: refund.order_id.to_string(),
        refund_id: refund.refund_id.to_string(),
        refunded: Some(convert::money(refunded)),
    });
    let event = of_order(refund.merchant_id, refund.order_id, kind, now);
    NewEvent { traceparent: refund.traceparent.clone(), ..event }
}

/// A voucher was issued.
pub(crate) fn issued(merchant_id: MerchantId, voucher: &Voucher, traceparent: Option<String>) -> NewEvent {
    NewEvent {
        merchant_id,
        aggregate_id: voucher.id.to_string(),
        kind: Kind::VoucherIssued(VoucherIssued {
            voucher_id: voucher.id.to_string(),
            order_id: voucher.order_id.to_string(),
            uses: voucher.uses,
        }),
        occur_time: voucher.issue_time,
        traceparent,
    }
}

/// A voucher was redeemed.
pub(crate) fn redeemed(
    merchant_id: MerchantId,
    voucher: &Voucher,
    redemption: &NewRedemption,
    now: Timestamp,
) -> NewEvent {
    NewEvent {
        merchant_id,
        aggregate_id: voucher.id.to_string(),
        kind: Kind::VoucherRedeemed(VoucherRedeemed {
            voucher_id: voucher.id.to_string(),
            order_id: voucher.order_id.to_string(),
            count: redemption.count,
            terminal: redemption.terminal.clone(),
        }),
        occur_time: now,
        traceparent: None,
    }
}

fn of_order(merchant_id: MerchantId, id: OrderId, kind: Kind, occur_time: Timestamp) -> NewEvent {
    NewEvent { merchant_id, aggregate_id: id.to_string(), kind, occur_time, traceparent: None }
}
