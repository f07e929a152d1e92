//! Events as merchants read them: a small JSON document per kind, spelt out here field by field, so that a change of
//! the internal contract cannot change what merchants receive.
//!
//! Money is `{"currency": "CNY", "minor": 1234}`, ids are texts, enums are lower-case words, times are RFC 3339.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{Event, RefundedLine};
use tael_proto::r#type::v1::{Channel, Method, Money};

use crate::domain::webhook_endpoint::{DisableReason, WebhookEndpoint};

/// What every body has in common, in this order.
#[derive(Serialize)]
struct Body<'a> {
    r#type: &'a str,
    timestamp: String,
    merchant_id: &'a str,
    aggregate_id: &'a str,
    data: Value,
}

/// Writes the body that tells of an event.
pub(crate) fn body(event: &Event, kind: &Kind) -> String {
    let body = Body {
        r#type: tael_eventlog::kind_name(kind),
        timestamp: time(event.occur_time.as_ref()).unwrap_or_default(),
        merchant_id: &event.merchant_id,
        aggregate_id: &event.aggregate_id,
        data: data(kind),
    };
    serde_json::to_string(&body).expect("texts, numbers and maps with text keys are JSON")
}

/// The type of the event that an endpoint was disabled. It is this service's own and in no log: the merchant's other endpoints
/// are told of it.
pub(crate) const ENDPOINT_DISABLED: &str = "webhook_endpoint.disabled";

/// Writes the body that tells that an endpoint was disabled.
pub(crate) fn endpoint_disabled(
    endpoint: &WebhookEndpoint,
    reason: DisableReason,
    time: Timestamp,
) -> String {
    let (merchant_id, endpoint_id) = (endpoint.merchant_id.to_string(), endpoint.id.to_string());
    let body = Body {
        r#type: ENDPOINT_DISABLED,
        timestamp: time.to_string(),
        merchant_id: &merchant_id,
        aggregate_id: &endpoint_id,
        data: json!({ "webhook_endpoint_id": endpoint_id, "reason": reason.as_str() }),
    };
    serde_json::to_string(&body).expect("texts and maps with text keys are JSON")
}

fn data(kind: &Kind) -> Value {
    match kind {
        Kind::MerchantRegistered(e) => json!({ "merchant_id": e.merchant_id, "name": e.name }),
        Kind::MerchantApproved(e) => json!({ "merchant_id": e.merchant_id }),
        Kind::OrderCreated(e) => json!({
            "order_id": e.order_id,
            "total": money(e.total.as_ref()),
            "expire_time": time(e.expire_time.as_ref()),
        }),
        Kind::OrderPaid(e) => json!({
            "order_id": e.order_id,
            "payment_id": e.payment_id,
            "amount": money(e.amount.as_ref()),
        }),
        Kind::OrderCancelled(e) => json!({ "order_id": e.order_id }),
        Kind::OrderExpired(e) => json!({ "order_id": e.order_id }),
        Kind::OrderPaymentHeld(e) => json!({
            "order_id": e.order_id,
            "payment_id": e.payment_id,
            "amount": money(e.amount.as_ref()),
        }),
        Kind::OrderPaymentReleased(e) => json!({
            "order_id": e.order_id,
            "payment_id": e.payment_id,
            "amount": money(e.amount.as_ref()),
            "accepted": e.accepted,
        }),
        Kind::VoucherIssued(e) => {
            json!({ "voucher_id": e.voucher_id, "order_id": e.order_id, "uses": e.uses })
        }
        Kind::VoucherRedeemed(e) => json!({
            "voucher_id": e.voucher_id,
            "order_id": e.order_id,
            "count": e.count,
            "terminal": e.terminal,
        }),
        Kind::OrderRefunded(e) => json!({
            "order_id": e.order_id,
            "refund_id": e.refund_id,
            "refunded": money(e.refunded.as_ref()),
        }),
        Kind::PaymentCreated(e) => json!({
            "payment_id": e.payment_id,
            "order_id": e.order_id,
            "amount": money(e.amount.as_ref()),
        }),
        Kind::PaymentSucceeded(e) => json!({
            "payment_id": e.payment_id,
            "order_id": e.order_id,
            "attempt_id": e.attempt_id,
            "amount": money(e.amount.as_ref()),
            "channel": channel(e.channel()),
            "channel_account_id": e.channel_account_id,
            "channel_transaction_id": e.channel_transaction_id,
            "method": method(e.method()),
            "pay_time": time(e.pay_time.as_ref()),
            "reversed": e.reversed,
        }),
        Kind::PaymentClosed(e) => json!({ "payment_id": e.payment_id, "order_id": e.order_id }),
        Kind::PaymentFailed(e) => {
            json!({ "payment_id": e.payment_id, "order_id": e.order_id, "reason": e.reason })
        }
        Kind::PaymentRefunded(e) => json!({
            "payment_id": e.payment_id,
            "order_id": e.order_id,
            "refund_id": e.refund_id,
            "attempt_id": e.attempt_id,
            "amount": money(e.amount.as_ref()),
            "refunded_total": money(e.refunded_total.as_ref()),
            "payment_amount": money(e.payment_amount.as_ref()),
            "channel": channel(e.channel()),
            "channel_account_id": e.channel_account_id,
            "refund_time": time(e.refund_time.as_ref()),
            "reversal": e.reversal,
        }),
        Kind::PaymentRefundFailed(e) => json!({
            "payment_id": e.payment_id,
            "refund_id": e.refund_id,
            "amount": money(e.amount.as_ref()),
            "reason": e.reason,
        }),
        Kind::PaymentIntegrityAlertRaised(e) => json!({
            "alarm_id": e.integrity_alert_id,
            "payment_id": e.payment_id,
            "field": e.field,
        }),
        Kind::RefundCreated(e) => json!({
            "refund_id": e.refund_id,
            "order_id": e.order_id,
            "payment_id": e.payment_id,
            "amount": money(e.amount.as_ref()),
        }),
        Kind::RefundSucceeded(e) => json!({
            "refund_id": e.refund_id,
            "order_id": e.order_id,
            "payment_id": e.payment_id,
            "amount": money(e.amount.as_ref()),
            "lines": e.lines.iter().map(refunded_line).collect::<Vec<_>>(),
            "reason": e.reason,
        }),
        Kind::RefundFailed(e) => json!({
            "refund_id": e.refund_id,
            "order_id": e.order_id,
            "payment_id": e.payment_id,
            "amount": money(e.amount.as_ref()),
            "reason": e.reason,
        }),
        Kind::BatchClosed(e) => json!({ "batch_id": e.batch_id, "net": money(e.net.as_ref()) }),
    }
}

fn refunded_line(line: &RefundedLine) -> Value {
    json!({ "line_id": line.line_id, "quantity": line.quantity, "amount": money(line.amount.as_ref()) })
}

fn money(money: Option<&Money>) -> Value {
    money.map_or(Value::Null, |m| json!({ "currency": m.currency, "minor": m.minor }))
}

fn time(time: Option<&prost_types::Timestamp>) -> Option<String> {
    let time = time?;
    Some(Timestamp::new(time.seconds, time.nanos).ok()?.to_string())
}

fn channel(channel: Channel) -> Option<&'static str> {
    match channel {
        Channel::Unspecified => None,
        Channel::Alipay => Some("alipay"),
    }
}

fn method(method: Method) -> Option<&'static str> {
    match method {
        Method::Unspecified => None,
        Method::QrCode => Some("qr_code"),
        Method::Web => Some("web"),
        Method::InApp => Some("in_app"),
    }
}

#[cfg(test)]
mod tests {
    use tael_proto::event::v1::{OrderCreated, PaymentSucceeded, RefundSucceeded};

    use super::*;

    fn cny(minor: i64) -> Money {
        Money { currency: "CNY".to_owned(), minor }
    }

    fn written(kind: &Kind) -> String {
        let event = Event {
            merchant_id: "mer_1".to_owned(),
            aggregate_id: "agg_1".to_owned(),
            occur_time: Some(prost_types::Timestamp { seconds: 1_772_352_000, nanos: 250_000_000 }),
            ..Event::default()
        };
        body(&event, kind)
    }

    #[test]
    fn a_payment_that_succeeded() {
        let kind = Kind::PaymentSucceeded(PaymentSucceeded {
            payment_id: "pay_1".to_owned(),
            order_id: "ord_1".to_owned(),
            attempt_id: "att_1".to_owned(),
            amount: Some(cny(16_800)),
            channel: Channel::Alipay.into(),
            channel_account_id: "cha_1".to_owned(),
            channel_transaction_id: "2026030122001".to_owned(),
            method: Method::QrCode.into(),
            pay_time: Some(prost_types::Timestamp { seconds: 1_772_352_000, nanos: 0 }),
            ..PaymentSucceeded::default()
        });
        assert_eq!(
            written(&kind),
            concat!(
                r#"{"type":"payment.succeeded","timestamp":"2026-03-01T08:00:00.25Z","merchant_id":"mer_1","#,
                r#""aggregate_id":"agg_1","data":{"amount":{"currency":"CNY","minor":16800},"attempt_id":"att_1","#,
                r#""channel":"alipay","channel_account_id":"cha_1","channel_transaction_id":"2026030122001","#,
                r#""method":"qr_code","order_id":"ord_1","pay_time":"2026-03-01T08:00:00Z","payment_id":"pay_1","reversed":false}}"#,
            )
        );
    }

    #[test]
    fn a_refund_by_line() {
        let kind = Kind::RefundSucceeded(RefundSucceeded {
            refund_id: "ref_1".to_owned(),
            order_id: "ord_1".to_owned(),
            payment_id: "pay_1".to_owned(),
            amount: Some(cny(3_333)),
            lines: vec![RefundedLine { line_id: "lin_1".to_owned(), quantity: 1, amount: Some(cny(3_333)) }],
            reason: "尺码不对".to_owned(),
        });
        assert_eq!(
            written(&kind),
            concat!(
                r#"{"type":"refund.succeeded","timestamp":"2026-03-01T08:00:00.25Z","merchant_id":"mer_1","#,
                r#""aggregate_id":"agg_1","data":{"amount":{"currency":"CNY","minor":3333},"lines":[{"amount":"#,
                r#"{"currency":"CNY","minor":3333},"line_id":"lin_1","quantity":1}],"order_id":"ord_1","#,
                r#""payment_id":"pay_1","reason":"尺码不对","refund_id":"ref_1"}}"#,
            )
        );
    }

    #[test]
    fn what_is_absent_is_null() {
        let kind =
            Kind::OrderCreated(OrderCreated { order_id: "ord_1".to_owned(), ..OrderCreated::default() });
        let written: Value = serde_json::from_str(&written(&kind)).unwrap();
        assert_eq!(written["data"], json!({ "order_id": "ord_1", "total": null, "expire_time": null }));
    }
}
