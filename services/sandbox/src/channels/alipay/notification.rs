//! The fields of an asynchronous notification (Alipay open platform: asynchronous notification; which fields a payment
//! and which a refund carries is taken from public copies of real messages of 2019 to 2021).

use jiff::Timestamp;

use super::{
    money::Fen,
    order::{Order, TradeState, TradeStatus},
    shared::Alipay,
    sign::{AlipayKey, notification_text},
    time,
};
use crate::core::{Event, Notification, Post};

/// A delivery as it is posted at `now`.
pub(super) fn post(alipay: &Alipay, notification: &Notification, now: Timestamp) -> Post {
    let fields = fields(notification, alipay.state().order(notification.trade), now);
    Post {
        headers: vec![("content-type", "application/x-www-form-urlencoded; charset=utf-8".to_owned())],
        body: form(fields, &alipay.key).into_bytes(),
    }
}

/// Only HTTP 200 with a body of exactly `success` acknowledges (Alipay open platform: asynchronous notification).
pub(super) fn acknowledges(status: u16, body: &str) -> bool {
    status == 200 && body == "success"
}

/// The form fields of one delivery, unsigned. They tell the state at the time of the event, not of the delivery; only
/// `notify_time` is that of the delivery.
fn fields(notification: &Notification, order: &Order, now: Timestamp) -> Vec<(&'static str, String)> {
    let trade = order.trade().expect("only trades are notified about");
    let TradeState::Paid(paid) = &trade.state else { unreachable!("only paid trades are notified about") };
    let total = order.spec.total;
    let mut fields = vec![
        ("gmt_create", time::wire(trade.created_at)),
        ("charset", "utf-8".to_owned()),
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
        ("gmt_payment", time::wire(paid.at)),
    ];
    if !order.spec.body.is_empty() {
        fields.push(("body", order.spec.body.clone()));
    }
    match notification.event {
        Event::Paid => fields.extend([
            ("trade_status", TradeStatus::TradeSuccess.as_wire().to_owned()),
            ("receipt_amount", total.to_string()),
            ("buyer_pay_amount", total.to_string()),
            ("invoice_amount", total.to_string()),
            ("point_amount", Fen::ZERO.to_string()),
            ("fund_bill_list", format!(r#"[{{"amount":"{total}","fundChannel":"ALIPAYACCOUNT"}}]"#)),
        ]),
        Event::Refunded(position) => {
            let refund = &paid.refunds[position];
            let wholly = refund.refunded_so_far == total;
            let status = if wholly { TradeStatus::TradeClosed } else { TradeStatus::TradeSuccess };
            fields.extend([
                ("trade_status", status.as_wire().to_owned()),
                ("refund_fee", refund.refunded_so_far.to_string()),
                ("gmt_refund", time::wire_millis(refund.at)),
                ("out_biz_no", refund.out_request_no.clone()),
            ]);
            if wholly {
                fields.push(("gmt_close", time::wire(refund.at)));
            }
        }
    }
    fields
}

/// The signed form body of a delivery.
fn form(mut fields: Vec<(&'static str, String)>, key: &AlipayKey) -> String {
    let text = notification_text(fields.iter().map(|(name, value)| (*name, value.as_str())));
    fields.push(("sign_type", "RSA2".to_owned()));
    fields.push(("sign", key.sign(&text)));
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
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
