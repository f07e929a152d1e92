//! Domain values go on the wire.

use tael_grpc::convert;
use tael_proto::order::v1 as wire;

use crate::domain::details::OrderDetails;
use crate::domain::order::{Fulfilment, Line, RefundProgress, State, UnappliedReason};
use crate::domain::promotion::Promotion;
use crate::domain::unapplied_payment::{
    Action, LatePaymentPolicy, OverpaymentAction, State as UnappliedState, UnappliedPayment,
};
use crate::domain::voucher::{Reservation, ReservationState, Voucher};

/// Writes an order without its contact, which is added where it is asked for.
pub(super) fn order(details: OrderDetails) -> wire::Order {
    let OrderDetails { order, vouchers, unapplied_payments } = details;
    let (state, payment_id, pay_time) = match order.state {
        State::PendingPayment => (wire::OrderState::PendingPayment, None, None),
        State::Paid { payment_id, at } => (wire::OrderState::Paid, payment_id, Some(at)),
        State::Cancelled => (wire::OrderState::Cancelled, None, None),
        State::Expired => (wire::OrderState::Expired, None, None),
    };
    let refund_progress = match order.refund_progress() {
        RefundProgress::Nothing => wire::RefundProgress::None,
        RefundProgress::Partial => wire::RefundProgress::Partial,
        RefundProgress::Full => wire::RefundProgress::Full,
    };
    let price = order.price;
    wire::Order {
        order_id: order.id.to_string(),
        merchant_id: order.merchant_id.to_string(),
        merchant_reference: order.merchant_reference,
        state: state.into(),
        lines: order.lines.into_iter().map(line).collect(),
        price: Some(wire::PriceBreakdown {
            items: Some(convert::money(price.items)),
            discount: Some(convert::money(price.discount)),
            shipping: Some(convert::money(price.shipping)),
            total: Some(convert::money(price.total)),
            promotion_id: price.promotion_id.map(|id| id.to_string()).unwrap_or_default(),
        }),
        contact: None,
        payment_id: payment_id.map(|id| id.to_string()).unwrap_or_default(),
        refunded: Some(convert::money(order.refunded)),
        refund_progress: refund_progress.into(),
        vouchers: vouchers.iter().map(voucher).collect(),
        unapplied_payments: unapplied_payments.into_iter().map(unapplied_payment).collect(),
        create_time: Some(convert::timestamp(order.create_time)),
        expire_time: Some(convert::timestamp(order.expire_time)),
        pay_time: pay_time.map(convert::timestamp),
    }
}

/// Writes what of an order matters to who moves its money.
pub(super) fn payable_order(details: OrderDetails) -> wire::PayableOrder {
    let order = order(details);
    wire::PayableOrder {
        order_id: order.order_id,
        merchant_id: order.merchant_id,
        state: order.state,
        lines: order.lines,
        price: order.price,
        payment_id: order.payment_id,
        refunded: order.refunded,
        expire_time: order.expire_time,
        pay_time: order.pay_time,
    }
}

fn line(line: Line) -> wire::OrderLine {
    let fulfilment = match line.fulfilment {
        Fulfilment::Shipped => wire::Fulfilment::Shipped,
        Fulfilment::Voucher => wire::Fulfilment::Voucher,
    };
    wire::OrderLine {
        line_id: line.id.to_string(),
        sku: line.sku,
        name: line.name,
        quantity: line.item.quantity,
        unit_price: Some(convert::money(line.item.unit_price)),
        subtotal: Some(convert::money(line.price.subtotal)),
        discount: Some(convert::money(line.price.discount)),
        total: Some(convert::money(line.price.total)),
        fulfilment: fulfilment.into(),
    }
}

pub(super) fn unapplied_payment(payment: UnappliedPayment) -> wire::UnappliedPayment {
    let reason = match payment.reason {
        UnappliedReason::ClosedOrder => wire::UnappliedReason::ClosedOrder,
        UnappliedReason::AlreadyPaid => wire::UnappliedReason::AlreadyPaid,
        UnappliedReason::Amount => wire::UnappliedReason::Amount,
    };
    let (state, refund_id, refund_failure, release_time) = match payment.state {
        UnappliedState::Held { refused: None } => (wire::UnappliedPaymentState::Held, None, None, None),
        UnappliedState::Held { refused: Some(refused) } => {
            (wire::UnappliedPaymentState::Held, Some(refused.refund_id), Some(refused.reason), None)
        }
        UnappliedState::Refunding { refund_id } => {
            (wire::UnappliedPaymentState::Refunding, Some(refund_id), None, None)
        }
        UnappliedState::Refunded { refund_id, at } => {
            (wire::UnappliedPaymentState::Refunded, Some(refund_id), None, Some(at))
        }
        UnappliedState::Accepted { at } => (wire::UnappliedPaymentState::Accepted, None, None, Some(at)),
    };
    wire::UnappliedPayment {
        payment_id: payment.payment_id.to_string(),
        amount: Some(convert::money(payment.amount)),
        hold_time: Some(convert::timestamp(payment.hold_time)),
        reason: reason.into(),
        state: state.into(),
        refund_id: refund_id.map(|id| id.to_string()).unwrap_or_default(),
        refund_failure: refund_failure.unwrap_or_default(),
        release_time: release_time.map(convert::timestamp),
        order_id: payment.order_id.to_string(),
    }
}

pub(super) fn late_payment_policy(policy: LatePaymentPolicy) -> wire::LatePaymentPolicy {
    let closed_order = match policy.closed_order {
        Action::Hold => wire::LatePaymentAction::Hold,
        Action::Accept => wire::LatePaymentAction::Accept,
        Action::Refund => wire::LatePaymentAction::Refund,
    };
    let overpayment = match policy.overpayment {
        OverpaymentAction::Hold => wire::LatePaymentAction::Hold,
        OverpaymentAction::Refund => wire::LatePaymentAction::Refund,
    };
    wire::LatePaymentPolicy { closed_order: closed_order.into(), overpayment: overpayment.into() }
}

pub(super) fn voucher(voucher: &Voucher) -> wire::Voucher {
    wire::Voucher {
        voucher_id: voucher.id.to_string(),
        order_id: voucher.order_id.to_string(),
        line_id: voucher.line_id.to_string(),
        code: voucher.code.to_string(),
        uses: voucher.uses,
        redeemed: voucher.redeemed,
        voided: voucher.voided,
        issue_time: Some(convert::timestamp(voucher.issue_time)),
        reserved: voucher.reserved,
    }
}

pub(super) fn reservation(reservation: Reservation) -> wire::VoucherReservation {
    let state = match reservation.state {
        ReservationState::Reserved => wire::VoucherReservationState::Reserved,
        ReservationState::Released => wire::VoucherReservationState::Released,
        ReservationState::TakenBack => wire::VoucherReservationState::TakenBack,
    };
    let uses = reservation.uses.into_iter().map(|uses| wire::ReservedUses {
        voucher_id: uses.voucher_id.to_string(),
        line_id: uses.line_id.to_string(),
        uses: uses.uses,
        used: uses.used,
    });
    wire::VoucherReservation {
        refund_id: reservation.refund_id.to_string(),
        order_id: reservation.order_id.to_string(),
        state: state.into(),
        uses: uses.collect(),
        force_reason: reservation.force_reason.unwrap_or_default(),
    }
}

pub(super) fn promotion(promotion: Promotion) -> wire::Promotion {
    wire::Promotion {
        promotion_id: promotion.id.to_string(),
        merchant_id: promotion.merchant_id.to_string(),
        name: promotion.name,
        threshold: Some(convert::money(promotion.threshold)),
        saving: Some(convert::money(promotion.saving)),
        create_time: Some(convert::timestamp(promotion.create_time)),
        end_time: promotion.end_time.map(convert::timestamp),
    }
}
