//! Refunds in the channel's console, past the merchant's own systems.

use serde_json::json;
use tael_sandbox::control::{ConsoleRefund, MovementKind, TradeStatus};

use crate::merchant::{World, endpoint, notification_is_genuine, world};

fn refund(world: &World, number: &str, amount_minor: Option<i64>) -> ConsoleRefund {
    ConsoleRefund { trade: world.trade(number), amount_minor, reason: "客户投诉".to_owned() }
}

#[tokio::test]
async fn a_console_refund_has_a_number_of_the_channels_and_is_told_and_found_like_any_other() {
    let world = world().await;
    let mut shop = endpoint(&[]).await;
    world.paid("order1", "10.00", Some(&shop.url)).await;
    shop.next().await;
    world.refund("order1", "r1", "1.00").await;
    assert_eq!(shop.next().await["out_biz_no"], "r1");

    let trade = world.control.refund(&refund(&world, "order1", Some(400))).await.unwrap();
    let made = &trade.refunds[1];
    assert!(made.in_console && !trade.refunds[0].in_console);
    assert_eq!((made.amount_minor, trade.refunded_minor, trade.status), (400, 500, TradeStatus::Paid));
    let partial = shop.next().await;
    assert!(notification_is_genuine(&world, &partial));
    let values = ["trade_status", "out_biz_no", "refund_fee"].map(|name| partial[name].as_str());
    assert_eq!(values, ["TRADE_SUCCESS", made.refund_no.as_str(), "5.00"]);

    let biz = json!({ "out_trade_no": "order1", "out_request_no": made.refund_no });
    let query = world.call("alipay.trade.fastpay.refund.query", biz).await;
    let values = ["refund_status", "refund_amount", "refund_reason"].map(|name| query.get(name));
    assert_eq!(values, ["REFUND_SUCCESS", "4.00", "客户投诉"]);

    // Everything that is left.
    let trade = world.control.refund(&refund(&world, "order1", None)).await.unwrap();
    assert_eq!((trade.refunded_minor, trade.status), (1_000, TradeStatus::Closed));
    let full = shop.next().await;
    assert_eq!(full["trade_status"], "TRADE_CLOSED");
    assert_ne!(full["out_biz_no"], partial["out_biz_no"]);
    let refunds = world.control.movements(Some(&world.app.seller_id)).await.unwrap();
    let refunds = refunds.iter().filter(|movement| movement.kind == MovementKind::Refund);
    assert_eq!(refunds.map(|movement| movement.amount_minor).collect::<Vec<_>>(), [-100, -400, -500]);
}

#[tokio::test]
async fn the_console_refunds_no_more_than_was_paid() {
    let world = world().await;
    world.precreate("order1", "10.00", None).await;
    assert!(world.control.refund(&refund(&world, "order1", None)).await.is_err());
    world.control.pay(world.trade("order1")).await.unwrap();
    for amount in [0, -1, 1_001] {
        assert!(world.control.refund(&refund(&world, "order1", Some(amount))).await.is_err(), "{amount}");
    }
    world.control.refund(&refund(&world, "order1", None)).await.unwrap();
    assert!(world.control.refund(&refund(&world, "order1", None)).await.is_err());
    assert!(world.control.refund(&refund(&world, "nowhere", None)).await.is_err());
}
