//! Orders, refunds and notifications as the control interface shows them.

use jiff::Timestamp;

use super::{
    Alipay,
    order::{self, Order, Refund, Stage, TradeState},
    outbox::{Delivery, Event, Notification, Outbox, Outcome},
    simulator::App,
};
use crate::control::{
    AppView, AttemptView, DeliveryState, NotificationEvent, NotificationView, RefundView, TradeStatus,
    TradeView,
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
        Stage::Unscanned => TradeStatus::NotScanned,
        Stage::Withdrawn { .. } => TradeStatus::Withdrawn,
        Stage::Trade(trade) => match trade.status(order.spec.total, now) {
            order::TradeStatus::WaitBuyerPay => TradeStatus::WaitBuyerPay,
            order::TradeStatus::TradeSuccess => TradeStatus::TradeSuccess,
            order::TradeStatus::TradeClosed => TradeStatus::TradeClosed,
            order::TradeStatus::TradeFinished => TradeStatus::TradeFinished,
        },
    }
}

pub(crate) fn trade_view(alipay: &Alipay, order: &Order, outbox: &Outbox, now: Timestamp) -> TradeView {
    let trade = order.trade();
    let paid = trade.and_then(|trade| match &trade.state {
        TradeState::Paid(paid) => Some(paid),
        TradeState::Waiting { .. } | TradeState::Closed { .. } => None,
    });
    TradeView {
        app_id: order.app_id.clone(),
        seller_id: order.seller_id.clone(),
        out_trade_no: order.spec.out_trade_no.clone(),
        trade_no: trade.map(|trade| trade.trade_no.clone()),
        qr_code: alipay.qr_url(&order.qr_code),
        subject: order.spec.subject.clone(),
        total_fen: order.spec.total.0,
        status: trade_status(order, now),
        buyer_id: trade.map(|trade| trade.buyer.user_id.clone()),
        created_at: order.created_at,
        paid_at: paid.map(|paid| paid.at),
        closed_at: closed_at(order, now),
        fee_fen: paid.map_or(0, |paid| paid.fee.0),
        refunded_fen: paid.map_or(0, |paid| paid.refunded().0),
        refunds: paid.map(|paid| paid.refunds.iter().map(refund_view).collect()).unwrap_or_default(),
        notifications: order
            .notifications
            .iter()
            .map(|position| notification_view(outbox.get(*position)))
            .collect(),
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

fn refund_view(refund: &Refund) -> RefundView {
    RefundView {
        out_request_no: refund.out_request_no.clone(),
        amount_fen: refund.amount.0,
        fee_returned_fen: refund.fee_returned.0,
        reason: refund.reason.clone(),
        refunded_at: refund.at,
    }
}

fn notification_view(notification: &Notification) -> NotificationView {
    let (state, next_attempt_at) = match notification.state {
        Delivery::Due(at) => (DeliveryState::Scheduled, Some(at)),
        Delivery::Held(at) => (DeliveryState::Held, Some(at)),
        Delivery::InFlight => (DeliveryState::InFlight, None),
        Delivery::Acknowledged => (DeliveryState::Acknowledged, None),
        Delivery::GivenUp => (DeliveryState::GivenUp, None),
        Delivery::Lost => (DeliveryState::Lost, None),
    };
    let attempts = notification.attempts.iter().map(|attempt| {
        let (http_status, body, error) = match &attempt.outcome {
            Outcome::Answered { status, body } => (Some(*status), Some(body.clone()), None),
            Outcome::Failed { error } => (None, None, Some(error.clone())),
            Outcome::Lost => (None, None, Some("lost by a fault".to_owned())),
        };
        AttemptView { at: attempt.at, http_status, body, error }
    });
    NotificationView {
        notify_id: notification.news.notify_id.clone(),
        event: match notification.news.event {
            Event::Paid => NotificationEvent::Payment,
            Event::Refunded(_) => NotificationEvent::Refund,
        },
        url: notification.news.url.clone(),
        state,
        next_attempt_at,
        attempts: attempts.collect(),
    }
}
