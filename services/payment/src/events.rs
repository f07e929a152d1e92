//! The events that this service publishes. Amounts and ids as the contract has them.

use jiff::Timestamp;
use tael_eventlog::NewEvent;
use tael_grpc::convert;
use tael_ids::AttemptDecisionId;
use tael_money::Money;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{
    PaymentClosed, PaymentCreated, PaymentFailed, PaymentIntegrityAlertRaised, PaymentRefundFailed,
    PaymentRefunded, PaymentSucceeded,
};
use tael_proto::r#type::v1 as wire;

use crate::domain::channel_account::{ChannelName, Method};
use crate::domain::evidence::Paid;
use crate::domain::integrity_alert::IntegrityAlert;
use crate::domain::payment::{Attempt, Failure, Payment};
use crate::domain::refund_execution::Refund;

pub(crate) fn created(payment: &Payment) -> NewEvent {
    let kind = Kind::PaymentCreated(PaymentCreated {
        payment_id: payment.id.to_string(),
        order_id: payment.order_id.to_string(),
        amount: Some(convert::money(payment.amount)),
    });
    event(payment, kind, payment.create_time)
}

/// `reversed`: the channel has given it all back.
pub(crate) fn succeeded(
    payment: &Payment,
    attempt: &Attempt,
    paid: &Paid,
    reversed: bool,
    now: Timestamp,
) -> NewEvent {
    let kind = Kind::PaymentSucceeded(PaymentSucceeded {
        payment_id: payment.id.to_string(),
        order_id: payment.order_id.to_string(),
        attempt_id: attempt.id.to_string(),
        amount: Some(convert::money(payment.amount)),
        channel: channel(&attempt.channel).into(),
        channel_account_id: attempt.channel_account_id.to_string(),
        channel_transaction_id: paid.channel_transaction_id.clone(),
        method: method(attempt.method).into(),
        pay_time: Some(convert::timestamp(paid.pay_time)),
        reversed,
        received: paid.plausible_received().map(convert::money),
    });
    event(payment, kind, now)
}

/// `decision`: the people who closed it without the channel's evidence.
pub(crate) fn closed(payment: &Payment, decision: Option<AttemptDecisionId>, now: Timestamp) -> NewEvent {
    let kind = Kind::PaymentClosed(PaymentClosed {
        payment_id: payment.id.to_string(),
        order_id: payment.order_id.to_string(),
        attempt_decision_id: decision.map(|id| id.to_string()).unwrap_or_default(),
    });
    event(payment, kind, now)
}

pub(crate) fn failed(payment: &Payment, failure: &Failure, now: Timestamp) -> NewEvent {
    let kind = Kind::PaymentFailed(PaymentFailed {
        payment_id: payment.id.to_string(),
        order_id: payment.order_id.to_string(),
        reason: failure.reason.name().to_owned(),
    });
    event(payment, kind, now)
}

/// `refunded_total` includes this refund. `reversal`: the channel gave it back unasked.
pub(crate) fn refunded(
    payment: &Payment,
    attempt: &Attempt,
    refund: &Refund,
    refunded_total: Money,
    reversal: bool,
    refund_time: Timestamp,
    now: Timestamp,
) -> NewEvent {
    let kind = Kind::PaymentRefunded(PaymentRefunded {
        payment_id: payment.id.to_string(),
        order_id: payment.order_id.to_string(),
        refund_id: refund.id.to_string(),
        attempt_id: attempt.id.to_string(),
        amount: Some(convert::money(refund.amount)),
        refunded_total: Some(convert::money(refunded_total)),
        payment_amount: Some(convert::money(payment.amount)),
        channel: channel(&attempt.channel).into(),
        channel_account_id: attempt.channel_account_id.to_string(),
        refund_time: Some(convert::timestamp(refund_time)),
        reversal,
        ..PaymentRefunded::default()
    });
    event(payment, kind, now)
}

pub(crate) fn refund_failed(
    payment: &Payment,
    refund: &Refund,
    failure: &Failure,
    now: Timestamp,
) -> NewEvent {
    let kind = Kind::PaymentRefundFailed(PaymentRefundFailed {
        payment_id: payment.id.to_string(),
        refund_id: refund.id.to_string(),
        amount: Some(convert::money(refund.amount)),
        reason: failure.reason.name().to_owned(),
    });
    event(payment, kind, now)
}

pub(crate) fn integrity_alert_raised(payment: &Payment, alert: &IntegrityAlert) -> NewEvent {
    let kind = Kind::PaymentIntegrityAlertRaised(PaymentIntegrityAlertRaised {
        integrity_alert_id: alert.id.to_string(),
        payment_id: payment.id.to_string(),
        field: alert.mismatch.field.clone(),
    });
    event(payment, kind, alert.create_time)
}

/// Every event of a payment has the payment as its aggregate, so that they are in order.
fn event(payment: &Payment, kind: Kind, occur_time: Timestamp) -> NewEvent {
    NewEvent {
        merchant_id: payment.merchant_id,
        aggregate_id: payment.id.to_string(),
        kind,
        occur_time,
        traceparent: None,
    }
}

/// A channel's enum value on the wire has its name; one without a value is not told.
pub(crate) fn channel(name: &ChannelName) -> wire::Channel {
    wire::Channel::from_str_name(&format!("CHANNEL_{}", name.as_str().to_ascii_uppercase()))
        .unwrap_or_default()
}

pub(crate) fn method(method: Method) -> wire::Method {
    match method {
        Method::QrCode => wire::Method::QrCode,
        Method::Web => wire::Method::Web,
        Method::InApp => wire::Method::InApp,
    }
}
