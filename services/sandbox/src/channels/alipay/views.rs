//! Orders and refunds as control shows them.

use jiff::Timestamp;

use super::{
    coupon,
    messages::AppView,
    order::{self, Order, Refund, Stage, TradeState},
    shared::Alipay,
    state::App,
};
use crate::{
    control::{Action, Coupon, CouponFunding, RefundView, TradeStatus, TradeView},
    core::Deliveries,
};

pub(crate) fn app_view(alipay: &Alipay, app: &App) -> AppView {
    AppView {
        app_id: app.app_id.clone(),
        seller_id: app.seller_id.clone(),
        alipay_public_key: alipay.key.public_key(),
        gateway_url: alipay.gateway_url(),
        fee_rate: app.fee_rate.to_string(),
    }
}

pub(crate) fn trade_status(order: &Order, now: Timestamp) -> TradeStatus {
    match &order.stage {
        Stage::Unscanned => TradeStatus::Offered,
        Stage::Withdrawn { .. } => TradeStatus::Withdrawn,
        Stage::Trade(trade) => match trade.status(order.spec.total, now) {
            order::TradeStatus::WaitBuyerPay => TradeStatus::Waiting,
            order::TradeStatus::TradeSuccess => TradeStatus::Paid,
            order::TradeStatus::TradeClosed => TradeStatus::Closed,
            order::TradeStatus::TradeFinished => TradeStatus::Finished,
        },
    }
}

pub(crate) fn trade_view(
    alipay: &Alipay,
    order: &Order,
    deliveries: &Deliveries,
    now: Timestamp,
) -> TradeView {
    let trade = order.trade();
    let paid = trade.and_then(|trade| match &trade.state {
        TradeState::Paid(paid) => Some(paid),
        TradeState::Waiting { .. } | TradeState::Closed { .. } => None,
    });
    TradeView {
        account: order.app_id.clone(),
        merchant: order.seller_id.clone(),
        out_trade_no: order.spec.out_trade_no.clone(),
        trade_no: trade.map(|trade| trade.trade_no.clone()),
        action: Action::QrCode { url: alipay.qr_url(&order.qr_code) },
        subject: order.spec.subject.clone(),
        currency: "CNY".to_owned(),
        total_minor: order.spec.total.0,
        status: trade_status(order, now),
        payer: trade.map(|trade| trade.buyer.user_id.clone()),
        created_at: order.created_at,
        paid_at: paid.map(|paid| paid.at),
        closed_at: closed_at(order, now),
        received_minor: paid.map_or(0, |paid| paid.split(order.spec.total).received().0),
        coupon: paid.and_then(|paid| paid.coupon.as_ref()).map(coupon_view),
        fee_minor: paid.map_or(0, |paid| paid.fee.0),
        refunded_minor: paid.map_or(0, |paid| paid.refunded().0),
        refunds: paid.map(|paid| paid.refunds.iter().map(refund_view).collect()).unwrap_or_default(),
        notifications: order.notifications.iter().map(|position| deliveries.view(*position)).collect(),
    }
}

fn closed_at(order: &Order, now: Timestamp) -> Option<Timestamp> {
    match &order.stage {
        Stage::Unscanned => None,
        Stage::Withdrawn { at } => Some(*at),
        Stage::Trade(trade) => match &trade.state {
            TradeState::Waiting { expires_at } => Some(*expires_at).filter(|at| *at <= now),
            TradeState::Closed { at } => Some(*at),
            TradeState::Paid(paid) => paid
                .refunds
                .last()
                .filter(|last| last.refunded_so_far == order.spec.total)
                .map(|last| last.at),
        },
    }
}

fn coupon_view(coupon: &coupon::Coupon) -> Coupon {
    Coupon {
        name: coupon.name.clone(),
        amount_minor: coupon.amount.0,
        funded_by: match coupon.funded_by {
            coupon::FundedBy::Seller => CouponFunding::Merchant,
            coupon::FundedBy::Alipay => CouponFunding::Channel,
        },
    }
}

fn refund_view(refund: &Refund) -> RefundView {
    RefundView {
        refund_no: refund.out_request_no.clone(),
        amount_minor: refund.amount.0,
        given_back_minor: refund.split.received().0,
        in_console: refund.in_console,
        fee_returned_minor: refund.fee_returned.0,
        reason: refund.reason.clone(),
        refunded_at: refund.at,
    }
}
