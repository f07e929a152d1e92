//! The fields of an asynchronous notification (Alipay open platform: asynchronous notification; which fields a payment
//! and which a refund carries is taken from public copies of real messages of 2019 to 2021).

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::json;

use super::{
    charset::Charset,
    money::Fen,
    order::{Order, TradeState, TradeStatus},
    shared::Alipay,
    sign::{AlipayKey, notification_text},
    time,
};
use crate::core::{Event, Notification, Post};

/// A delivery as it is posted at `now`.
pub(super) fn post(alipay: &Alipay, notification: &Notification, now: Timestamp) -> Post {
    let (charset, fields) = {
        let state = alipay.state();
        let order = state.order(notification.trade);
        let charset = state.notify_charset(order);
        (charset, fields(notification, order, charset, now))
    };
    let content_type = format!("application/x-www-form-urlencoded; charset={}", charset.as_wire());
    Post {
        headers: vec![("content-type", content_type)],
        body: form(&fields, charset, &alipay.key).into_bytes(),
    }
}

/// Only HTTP 200 with a body of exactly `success` acknowledges (Alipay open platform: asynchronous notification).
pub(super) fn acknowledges(status: u16, body: &str) -> bool {
    status == 200 && body == "success"
}

/// The form fields of one delivery, unsigned. They tell the state at the time of the event, not of the delivery; only
/// `notify_time` is that of the delivery.
fn fields(
    notification: &Notification,
    order: &Order,
    charset: Charset,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let trade = order.trade().expect("only trades are notified about");
    let total = order.spec.total;
    let mut fields = vec![
        ("gmt_create", time::wire(trade.created_at)),
        ("charset", charset.as_wire().to_owned()),
        ("seller_email", format!("seller{}@sandbox.com", &order.seller_id[order.seller_id.len() - 4..])),
        ("subject", order.spec.subject.clone()),
        ("buyer_id", trade.buyer.user_id.clone()),
        ("buyer_logon_id", trade.buyer.logon_id()),
        ("notify_id", notification.notify_id.clone()),
        ("notify_type", "trade_status_sync".to_owned()),
        ("notify_time", time::wire(now)),
        ("app_id", order.app_id.clone()),
        ("auth_app_id", order.app_id.clone()),
        ("seller_id", order.seller_id.clone()),
        ("version", "1.0".to_owned()),
        ("out_trade_no", order.spec.out_trade_no.clone()),
        ("trade_no", trade.trade_no.clone()),
        ("total_amount", total.to_string()),
    ];
    if !order.spec.body.is_empty() {
        fields.push(("body", order.spec.body.clone()));
    }
    match (notification.event, &trade.state) {
        (Event::Paid, TradeState::Paid(paid)) => {
            let split = paid.split(total);
            let buyer_pays = split.by_buyer();
            fields.extend([
                ("gmt_payment", time::wire(paid.at)),
                ("trade_status", TradeStatus::TradeSuccess.as_wire().to_owned()),
                ("receipt_amount", split.received().to_string()),
                ("buyer_pay_amount", buyer_pays.to_string()),
                ("invoice_amount", buyer_pays.to_string()),
                ("point_amount", Fen::ZERO.to_string()),
            ]);
            let mut funds = vec![format!(r#"{{"amount":"{buyer_pays}","fundChannel":"ALIPAYACCOUNT"}}"#)];
            if let Some(coupon) = &paid.coupon {
                let (amount, fund) = (coupon.amount, coupon.fund_channel());
                funds.push(format!(r#"{{"amount":"{amount}","fundChannel":"{fund}"}}"#));
                let voucher = json!([{
                    "amount": amount.to_string(),
                    "id": coupon.id,
                    "memo": coupon.name,
                    "merchantContribute": split.seller.to_string(),
                    "name": coupon.name,
                    "otherContribute": split.alipay.to_string(),
                    "type": "ALIPAY_FIX_VOUCHER",
                }]);
                fields.push(("voucher_detail_list", voucher.to_string()));
            }
            fields.push(("fund_bill_list", format!("[{}]", funds.join(","))));
        }
        (Event::Closed, TradeState::Closed { at }) => fields.extend([
            ("trade_status", TradeStatus::TradeClosed.as_wire().to_owned()),
            ("gmt_close", time::wire(*at)),
        ]),
        (Event::Refunded(position), TradeState::Paid(paid)) => {
            let refund = &paid.refunds[position];
            let wholly = refund.refunded_so_far == total;
            let status = if wholly { TradeStatus::TradeClosed } else { TradeStatus::TradeSuccess };
            fields.extend([
                ("gmt_payment", time::wire(paid.at)),
                ("trade_status", status.as_wire().to_owned()),
                ("refund_fee", refund.refunded_so_far.to_string()),
                ("gmt_refund", time::wire_millis(refund.at)),
                ("out_biz_no", refund.out_request_no.clone()),
            ]);
            if wholly {
                fields.push(("gmt_close", time::wire(refund.at)));
            }
        }
        (
            Event::Paid | Event::Refunded(_) | Event::Closed,
            TradeState::Waiting { .. } | TradeState::Closed { .. } | TradeState::Paid(_),
        ) => unreachable!("what has happened to a trade stays in its state"),
    }
    fields
}

/// The signed form body of a delivery.
fn form(fields: &[(&'static str, String)], charset: Charset, key: &AlipayKey) -> String {
    let mut fields: Vec<_> = fields.iter().map(|(name, value)| (*name, charset.encode(value))).collect();
    let sign = key.sign(&notification_text(fields.iter().map(|(name, value)| (*name, &**value))));
    fields.push(("sign_type", Cow::Borrowed(b"RSA2")));
    fields.push(("sign", Cow::Owned(sign.into_bytes())));
    let encode = |value: &[u8]| url::form_urlencoded::byte_serialize(value).collect::<String>();
    let pairs: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exactly_success_with_200_acknowledges() {
        for (status, body, acknowledged) in [
            (200, "success", true),
            (200, "success\n", false),
            (200, "SUCCESS", false),
            (200, "<html>success</html>", false),
            (201, "success", false),
            (302, "success", false),
            (500, "success", false),
            (200, "", false),
        ] {
            assert_eq!(acknowledges(status, body), acknowledged, "{status} {body:?}");
        }
    }
}
