use serde_json::json;
use tael_sandbox::control::{Coupon, CouponFunding, MovementKind, PayerAction, PayerMove, TradeView};

use crate::merchant::{World, endpoint, notification_is_genuine, world};

async fn paid_with_coupon(
    world: &World,
    number: &str,
    coupon: Coupon,
    notify_url: Option<&str>,
) -> TradeView {
    world.precreate(number, "100.00", notify_url).await;
    let action = PayerAction { coupon: Some(coupon), ..PayerAction::on(world.trade(number)) };
    world.control.act(PayerMove::Pay, &action).await.unwrap()
}

fn five_yuan(funded_by: CouponFunding) -> Coupon {
    Coupon { name: "满100减5".to_owned(), amount_minor: 500, funded_by }
}

#[tokio::test]
async fn the_merchants_own_coupon_is_not_received() {
    let world = world().await;
    let mut shop = endpoint(&[]).await;
    let trade = paid_with_coupon(&world, "order1", five_yuan(CouponFunding::Merchant), Some(&shop.url)).await;
    // 0.6 % of 95.00.
    assert_eq!((trade.total_minor, trade.received_minor, trade.fee_minor), (10_000, 9_500, 57));
    assert_eq!(trade.coupon, Some(five_yuan(CouponFunding::Merchant)));

    let fields = shop.next().await;
    assert!(notification_is_genuine(&world, &fields));
    let values = ["total_amount", "receipt_amount", "buyer_pay_amount"].map(|name| fields[name].as_str());
    assert_eq!(values, ["100.00", "95.00", "95.00"]);
    assert_eq!(
        fields["fund_bill_list"],
        r#"[{"amount":"95.00","fundChannel":"ALIPAYACCOUNT"},{"amount":"5.00","fundChannel":"MDISCOUNT"}]"#
    );
    let vouchers: serde_json::Value = serde_json::from_str(&fields["voucher_detail_list"]).unwrap();
    assert_eq!(
        (&vouchers[0]["name"], &vouchers[0]["merchantContribute"]),
        (&json!("满100减5"), &json!("5.00"))
    );

    let query = world.query("order1").await;
    let values = ["total_amount", "receipt_amount", "buyer_pay_amount", "mdiscount_amount"]
        .map(|name| query.get(name));
    assert_eq!(values, ["100.00", "95.00", "95.00", "5.00"]);
    assert_eq!(query.node["fund_bill_list"][1], json!({ "amount": "5.00", "fund_channel": "MDISCOUNT" }));
}

#[tokio::test]
async fn the_channels_coupon_is_received() {
    let world = world().await;
    let trade = paid_with_coupon(&world, "order1", five_yuan(CouponFunding::Channel), None).await;
    assert_eq!((trade.received_minor, trade.fee_minor), (10_000, 60));
    let query = world.query("order1").await;
    let values = ["receipt_amount", "buyer_pay_amount", "discount_amount"].map(|name| query.get(name));
    assert_eq!(values, ["100.00", "95.00", "5.00"]);
}

#[tokio::test]
async fn refunds_give_back_what_was_received() {
    let world = world().await;
    paid_with_coupon(&world, "order1", five_yuan(CouponFunding::Merchant), None).await;
    let first = world.refund("order1", "r1", "33.33").await;
    let values = ["refund_fee", "send_back_fee", "present_refund_mdiscount_amount"];
    assert_eq!(values.map(|name| first.get(name)), ["33.33", "31.66", "1.67"]);
    let second = world.refund("order1", "r2", "66.67").await;
    assert_eq!(values.map(|name| second.get(name)), ["100.00", "63.34", "3.33"]);

    let movements = world.control.movements(Some(&world.app.seller_id)).await.unwrap();
    let booked: Vec<_> = movements.iter().map(|movement| (movement.kind, movement.amount_minor)).collect();
    assert_eq!(
        booked,
        [
            (MovementKind::Payment, 9_500),
            (MovementKind::Fee, -57),
            (MovementKind::Refund, -3_166),
            (MovementKind::FeeReturn, 19),
            (MovementKind::Refund, -6_334),
            (MovementKind::FeeReturn, 38),
        ]
    );
    assert_eq!(movements.iter().map(|movement| movement.amount_minor).sum::<i64>(), 0);
    let trade = world.control.trade(&world.app.app_id, "order1").await.unwrap();
    let given_back: Vec<_> = trade.refunds.iter().map(|refund| refund.given_back_minor).collect();
    assert_eq!(given_back, [3_166, 6_334]);
}

#[tokio::test]
async fn a_coupon_leaves_something_to_pay() {
    let world = world().await;
    world.precreate("order1", "5.00", None).await;
    for (name, amount_minor) in [("券", 500), ("券", 0), ("券", -1), ("", 1)] {
        let coupon = Coupon { name: name.to_owned(), amount_minor, funded_by: CouponFunding::Merchant };
        let action = PayerAction { coupon: Some(coupon), ..PayerAction::on(world.trade("order1")) };
        assert!(world.control.act(PayerMove::Pay, &action).await.is_err(), "{name} {amount_minor}");
    }
    let scan = PayerAction {
        coupon: Some(five_yuan(CouponFunding::Merchant)),
        ..PayerAction::on(world.trade("order1"))
    };
    assert!(world.control.act(PayerMove::Scan, &scan).await.is_err());
}
