//! Domain values go on the wire.

use tael_grpc::convert;
use tael_proto::order::v1 as wire;

use crate::contact;
use crate::domain::held::{Action, HeldPayment, Policy, Reason, State as HeldState, SurplusAction};
use crate::domain::order::{Fulfilment, Line, Order, RefundProgress, State};
use crate::domain::promotion::Promotion;
use crate::domain::voucher::Voucher;

pub(super) fn order(order: Order) -> wire::Order {
    let (state, payment_id, pay_time) = match order.state {
        State::PendingPayment => (wire::OrderState::PendingPayment, None, None),
        State::Paid { payment_id, at } => (wire::OrderState::Paid, Some(payment_id), Some(at)),
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
        contact: order.contact.map(contact::to_wire),
        payment_id: payment_id.map(|id| id.to_string()).unwrap_or_default(),
        refunded: Some(convert::money(order.refunded)),
        refund_progress: refund_progress.into(),
        vouchers: order.vouchers.iter().map(voucher).collect(),
        held_payments: order.held_payments.into_iter().map(held_payment).collect(),
        create_time: Some(convert::timestamp(order.create_time)),
        expire_time: Some(convert::timestamp(order.expire_time)),
        pay_time: pay_time.map(convert::timestamp),
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

pub(super) fn order_held_payment(held: HeldPayment) -> wire::OrderHeldPayment {
    wire::OrderHeldPayment { order_id: held.order_id.to_string(), held_payment: Some(held_payment(held)) }
}

fn held_payment(held: HeldPayment) -> wire::HeldPayment {
    let reason = match held.reason {
        Reason::ClosedOrder => wire::HeldReason::ClosedOrder,
        Reason::AlreadyPaid => wire::HeldReason::AlreadyPaid,
        Reason::Amount => wire::HeldReason::Amount,
    };
    let (state, refund_id, refund_failure, release_time) = match held.state {
        HeldState::Held { refused: None } => (wire::HeldState::Held, None, None, None),
        HeldState::Held { refused: Some(refused) } => {
            (wire::HeldState::Held, Some(refused.refund_id), Some(refused.reason), None)
        }
        HeldState::Refunding { refund_id } => (wire::HeldState::Refunding, Some(refund_id), None, None),
        HeldState::Refunded { refund_id, at } => (wire::HeldState::Refunded, Some(refund_id), None, Some(at)),
        HeldState::Accepted { at } => (wire::HeldState::Accepted, None, None, Some(at)),
    };
    wire::HeldPayment {
        payment_id: held.payment_id.to_string(),
        amount: Some(convert::money(held.amount)),
        hold_time: Some(convert::timestamp(held.hold_time)),
        reason: reason.into(),
        state: state.into(),
        refund_id: refund_id.map(|id| id.to_string()).unwrap_or_default(),
        refund_failure: refund_failure.unwrap_or_default(),
        release_time: release_time.map(convert::timestamp),
    }
}

pub(super) fn policy(policy: Policy) -> wire::LateMoneyPolicy {
    let closed_order = match policy.closed_order {
        Action::Hold => wire::LateMoneyAction::Hold,
        Action::Accept => wire::LateMoneyAction::Accept,
        Action::Refund => wire::LateMoneyAction::Refund,
    };
    let surplus = match policy.surplus {
        SurplusAction::Hold => wire::LateMoneyAction::Hold,
        SurplusAction::Refund => wire::LateMoneyAction::Refund,
    };
    wire::LateMoneyPolicy { closed_order: closed_order.into(), surplus: surplus.into() }
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
