//! What the channel decides only later, and what it tells of trades that come to nothing.

use serde_json::json;
use tael_sandbox::{
    Config,
    alipay::{AppView, RegisterApp},
    control::{NotificationEvent, PayerAction, PayerMove, TradeStatus},
};

use crate::merchant::{World, endpoint, notification_is_genuine, registration, world, world_with};

const MINUTE_MS: u64 = 60_000;

async fn decided_in_a_minute(world: &World, payer_move: PayerMove, number: &str) {
    let action = PayerAction { after_ms: Some(MINUTE_MS), ..PayerAction::on(world.trade(number)) };
    assert_eq!(world.control.act(payer_move, &action).await.unwrap().status, TradeStatus::Waiting);
    assert_eq!(world.query(number).await.get("trade_status"), "WAIT_BUYER_PAY");
}

async fn tell_of_closed_trades(world: &World) {
    let app = RegisterApp {
        app_id: Some(world.app.app_id.clone()),
        notify_closed: Some(true),
        ..registration(&world.key)
    };
    let _: AppView = world.control.register(&app).await.unwrap();
}

#[tokio::test]
async fn a_waiting_trade_may_be_declined_afterwards() {
    let world = world().await;
    tell_of_closed_trades(&world).await;
    let mut shop = endpoint(&[]).await;
    world.precreate("order1", "1.00", Some(&shop.url)).await;
    decided_in_a_minute(&world, PayerMove::Decline, "order1").await;
    assert!(shop.is_quiet());
    world.control.skip_ms(60_000).await.unwrap();
    assert_eq!(world.query("order1").await.get("trade_status"), "TRADE_CLOSED");
    let fields = shop.next().await;
    assert!(notification_is_genuine(&world, &fields));
    assert_eq!((fields["trade_status"].as_str(), fields.contains_key("gmt_close")), ("TRADE_CLOSED", true));
    assert!(!fields.contains_key("gmt_payment") && !fields.contains_key("refund_fee"));
    assert!(world.control.pay(world.trade("order1")).await.is_err());
}

#[tokio::test]
async fn a_waiting_trade_may_be_paid_afterwards() {
    let world = world_with(Config::default()).await;
    let mut shop = endpoint(&[]).await;
    world.precreate("order1", "1.00", Some(&shop.url)).await;
    decided_in_a_minute(&world, PayerMove::Pay, "order1").await;
    world.control.skip_ms(60_000).await.unwrap();
    // Nobody asks: the dispatcher comes by itself.
    assert_eq!(shop.next().await["trade_status"], "TRADE_SUCCESS");
    assert_eq!(world.query("order1").await.get("trade_status"), "TRADE_SUCCESS");
}

#[tokio::test]
async fn what_closes_a_trade_first_wins_against_a_late_payment() {
    let world = world().await;
    world.precreate("order1", "1.00", None).await;
    decided_in_a_minute(&world, PayerMove::Pay, "order1").await;
    let close = world.call("alipay.trade.close", json!({ "out_trade_no": "order1" })).await;
    assert_eq!(close.outcome(), "10000");
    world.control.skip_ms(60_000).await.unwrap();
    assert_eq!(world.query("order1").await.get("trade_status"), "TRADE_CLOSED");
    assert!(world.control.movements(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_closed_trade_is_told_of_once_and_only_to_who_asks() {
    let world = world().await;
    let mut shop = endpoint(&[]).await;
    let precreate = async |number: &str| {
        let biz = json!({ "out_trade_no": number, "total_amount": "1.00", "subject": "tea", "timeout_express": "5m" });
        let answer = world.call_notified("alipay.trade.precreate", biz, Some(&shop.url)).await;
        assert_eq!(answer.outcome(), "10000");
        world.control.scan(world.trade(number)).await.unwrap();
    };
    precreate("nobody-told").await;
    world.control.decline(world.trade("nobody-told")).await.unwrap();
    tell_of_closed_trades(&world).await;
    for number in ["declined", "closed", "cancelled", "expired"] {
        precreate(number).await;
    }
    world.control.decline(world.trade("declined")).await.unwrap();
    world.call("alipay.trade.close", json!({ "out_trade_no": "closed" })).await;
    for _ in 0..2 {
        world.call("alipay.trade.cancel", json!({ "out_trade_no": "cancelled" })).await;
    }
    world.control.skip_ms(5 * 60_000).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..4 {
        let fields = shop.next().await;
        assert_eq!(fields["trade_status"], "TRADE_CLOSED");
        told.push(fields["out_trade_no"].clone());
    }
    told.sort();
    assert_eq!(told, ["cancelled", "closed", "declined", "expired"]);
    for number in &told {
        let trade = world.control.trade(&world.app.app_id, number).await.unwrap();
        let events: Vec<_> = trade.notifications.iter().map(|notification| notification.event).collect();
        assert_eq!(events, [NotificationEvent::Closed], "{number}");
    }
    let untold = world.control.trade(&world.app.app_id, "nobody-told").await.unwrap();
    assert!(untold.notifications.is_empty());
}
