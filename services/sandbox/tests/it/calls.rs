use serde_json::json;
use tael_sandbox::control::{PayerAction, PayerMove, TradeRef, TradeStatus};

use crate::merchant::{registration, world};

#[tokio::test]
async fn a_qr_code_is_no_trade_until_it_is_scanned() {
    let world = world().await;
    let qr_code = world.precreate("order1", "88.88", None).await;
    assert_eq!(world.query("order1").await.outcome(), "40004 ACQ.TRADE_NOT_EXIST");
    let close = world.call("alipay.trade.close", json!({ "out_trade_no": "order1" })).await;
    assert_eq!(close.outcome(), "40004 ACQ.TRADE_NOT_EXIST");

    let trade = world.control.scan(TradeRef::code(qr_code)).await.unwrap();
    assert_eq!(trade.status, TradeStatus::Waiting);
    let query = world.query("order1").await;
    assert_eq!(query.get("trade_status"), "WAIT_BUYER_PAY");
    assert_eq!(query.get("total_amount"), "88.88");
    assert_eq!(query.get("receipt_amount"), "0.00");
    assert_eq!(query.get("trade_no"), trade.trade_no.unwrap());
    assert!(query.node.get("send_pay_date").is_none());
}

#[tokio::test]
async fn a_paid_trade_is_found_by_both_numbers() {
    let world = world().await;
    let trade = world.paid("order1", "88.88", None).await;
    let trade_no = trade.trade_no.unwrap();
    // trade_no wins over out_trade_no.
    let biz = json!({ "trade_no": trade_no, "out_trade_no": "other" });
    for query in [world.query("order1").await, world.call("alipay.trade.query", biz).await] {
        assert_eq!(query.get("trade_status"), "TRADE_SUCCESS");
        assert_eq!(query.get("out_trade_no"), "order1");
        assert_eq!(query.get("buyer_pay_amount"), "88.88");
        assert_eq!(query.get("send_pay_date").len(), "2026-01-01 00:00:00".len());
    }
}

#[tokio::test]
async fn precreate_again() {
    let world = world().await;
    let biz =
        |amount: &str| json!({ "out_trade_no": "order1", "total_amount": amount, "subject": "乌龙茶 500g" });
    let first = world.precreate("order1", "1.00", None).await;
    assert_eq!(world.precreate("order1", "1.00", None).await, first);
    let other = world.call("alipay.trade.precreate", biz("1.01")).await;
    assert_eq!(other.outcome(), "40004 ACQ.CONTEXT_INCONSISTENT");
    world.control.pay(world.trade("order1")).await.unwrap();
    let paid = world.call("alipay.trade.precreate", biz("1.00")).await;
    assert_eq!(paid.outcome(), "40004 ACQ.TRADE_HAS_SUCCESS");
}

#[tokio::test]
async fn close_ends_an_unpaid_trade() {
    let world = world().await;
    world.precreate("order1", "1.00", None).await;
    let scanned = world.control.scan(world.trade("order1")).await.unwrap();
    let close = world.call("alipay.trade.close", json!({ "out_trade_no": "order1" })).await;
    assert_eq!(close.get("trade_no"), scanned.trade_no.unwrap());
    assert_eq!(world.query("order1").await.get("trade_status"), "TRADE_CLOSED");
    assert!(world.control.pay(world.trade("order1")).await.is_err());
    let again = world.call("alipay.trade.close", json!({ "out_trade_no": "order1" })).await;
    assert_eq!(again.outcome(), "40004 ACQ.TRADE_STATUS_ERROR");
}

#[tokio::test]
async fn the_buyer_may_decline() {
    let world = world().await;
    world.precreate("order1", "1.00", None).await;
    let refused = world.control.decline(world.trade("order1")).await.unwrap();
    assert_eq!(refused.status, TradeStatus::Closed);
    assert_eq!(world.query("order1").await.get("trade_status"), "TRADE_CLOSED");
}

#[tokio::test]
async fn cancel_withdraws_closes_or_refunds() {
    let world = world().await;
    let cancel =
        async |number: &str| world.call("alipay.trade.cancel", json!({ "out_trade_no": number })).await;

    let unknown = cancel("nowhere").await;
    assert_eq!((unknown.outcome().as_str(), unknown.get("retry_flag")), ("10000", "N"));
    assert!(unknown.node.get("action").is_none());

    world.precreate("unscanned", "1.00", None).await;
    assert!(cancel("unscanned").await.node.get("action").is_none());
    assert!(world.control.scan(world.trade("unscanned")).await.is_err());

    world.precreate("scanned", "1.00", None).await;
    world.control.scan(world.trade("scanned")).await.unwrap();
    assert_eq!(cancel("scanned").await.get("action"), "close");

    world.paid("paid", "1.00", None).await;
    assert_eq!(cancel("paid").await.get("action"), "refund");
    let trade = world.control.trade(&world.app.app_id, "paid").await.unwrap();
    assert_eq!((trade.status, trade.refunded_minor), (TradeStatus::Closed, 100));
}

#[tokio::test]
async fn unpaid_trades_expire() {
    let world = world().await;
    let biz = json!({ "out_trade_no": "express", "total_amount": "1.00", "subject": "tea", "timeout_express": "5m" });
    assert_eq!(world.call("alipay.trade.precreate", biz).await.outcome(), "10000");
    world.control.scan(world.trade("express")).await.unwrap();
    world.precreate("unscanned", "1.00", None).await;

    world.control.skip_ms(5 * 60 * 1000).await.unwrap();
    assert_eq!(world.query("express").await.get("trade_status"), "TRADE_CLOSED");
    assert!(world.control.pay(world.trade("express")).await.is_err());
    let trade = world.control.trade(&world.app.app_id, "express").await.unwrap();
    assert_eq!((trade.status, trade.closed_at.is_some()), (TradeStatus::Closed, true));

    // The QR code lives two hours.
    world.control.scan(world.trade("unscanned")).await.unwrap();
    world.precreate("late", "1.00", None).await;
    world.control.skip_ms(2 * 60 * 60 * 1000).await.unwrap();
    assert!(world.control.scan(world.trade("late")).await.is_err());
}

#[tokio::test]
async fn an_absolute_time_limit_is_in_beijing_time() {
    let world = world().await;
    let now = world.control.clock().await.unwrap().now;
    let at = |minutes: i64| {
        let beijing = jiff::tz::TimeZone::fixed(jiff::tz::offset(8));
        let at = now + jiff::SignedDuration::from_mins(minutes);
        at.to_zoned(beijing).strftime("%Y-%m-%d %H:%M:%S").to_string()
    };
    let biz = |number: &str, time: String| json!({ "out_trade_no": number, "total_amount": "1.00", "subject": "tea", "time_expire": time });
    let past = world.call("alipay.trade.precreate", biz("past", at(-1))).await;
    assert_eq!(past.outcome(), "40004 ACQ.INVALID_PARAMETER");
    assert_eq!(world.call("alipay.trade.precreate", biz("soon", at(10))).await.outcome(), "10000");
    world.control.scan(world.trade("soon")).await.unwrap();
    assert_eq!(world.query("soon").await.get("trade_status"), "WAIT_BUYER_PAY");
    world.control.skip_ms(10 * 60 * 1000).await.unwrap();
    assert_eq!(world.query("soon").await.get("trade_status"), "TRADE_CLOSED");
}

#[tokio::test]
async fn sellers_do_not_see_each_other() {
    let mut world = world().await;
    let trade_no = world.paid("order1", "1.00", None).await.trade_no.unwrap();
    world.app = world.control.register(&registration(&world.key)).await.unwrap();
    for biz in [json!({ "out_trade_no": "order1" }), json!({ "trade_no": trade_no })] {
        assert_eq!(
            world.call("alipay.trade.query", biz.clone()).await.outcome(),
            "40004 ACQ.TRADE_NOT_EXIST"
        );
        let mut refund = biz;
        refund["refund_amount"] = json!("1.00");
        assert_eq!(world.call("alipay.trade.refund", refund).await.outcome(), "40004 ACQ.TRADE_NOT_EXIST");
    }
}

#[tokio::test]
async fn only_the_buyer_who_scanned_can_pay() {
    let world = world().await;
    world.precreate("order1", "1.00", None).await;
    world.control.scan(world.trade("order1")).await.unwrap();
    let stranger =
        PayerAction { payer: Some("2088000000000042".to_owned()), ..PayerAction::on(world.trade("order1")) };
    assert!(world.control.act(PayerMove::Pay, &stranger).await.is_err());
    let paid = world.control.pay(world.trade("order1")).await.unwrap();
    assert_eq!(paid.status, TradeStatus::Paid);
}

#[tokio::test]
async fn a_person_can_play_the_payer_in_a_browser() {
    let world = world().await;
    let qr_code = world.precreate("order1", "12.30", None).await;
    let page = world.http.get(&qr_code).send().await.unwrap().text().await.unwrap();
    assert!(
        page.contains("¥12.30") && page.contains("乌龙茶 500g") && page.contains("value=\"pay\""),
        "{page}"
    );
    assert_eq!(world.query("order1").await.get("trade_status"), "WAIT_BUYER_PAY");
    let form = [("action", "pay")];
    let page = world.http.post(&qr_code).form(&form).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("paid") && !page.contains("value=\"pay\""), "{page}");
    assert_eq!(world.query("order1").await.get("trade_status"), "TRADE_SUCCESS");

    let again = world.http.post(&qr_code).form(&form).send().await.unwrap();
    assert_eq!(again.status(), 409);
    assert_eq!(world.http.get(&qr_code).send().await.unwrap().status(), 200);
    for path in ["payer/alipay/nothing", "payer/nowhere/nothing"] {
        let unknown = world.http.get(format!("{}/{path}", world.url)).send().await.unwrap();
        assert_eq!(unknown.status(), 404, "{path}");
    }
}
