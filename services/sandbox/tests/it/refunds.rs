use serde_json::json;
use tael_sandbox::control::MovementKind;

use crate::merchant::world;

#[tokio::test]
async fn partial_refunds_add_up_to_a_closed_trade() {
    let world = world().await;
    world.paid("order1", "10.00", None).await;
    let first = world.refund("order1", "r1", "4.00").await;
    assert_eq!(
        ["fund_change", "refund_fee", "send_back_fee"].map(|name| first.get(name).to_owned()),
        ["Y", "4.00", "4.00"]
    );
    assert_eq!(world.query("order1").await.get("trade_status"), "TRADE_SUCCESS");
    let second = world.refund("order1", "r2", "6.00").await;
    assert_eq!(
        ["fund_change", "refund_fee", "send_back_fee"].map(|name| second.get(name).to_owned()),
        ["Y", "10.00", "6.00"]
    );
    assert_eq!(world.query("order1").await.get("trade_status"), "TRADE_CLOSED");
    assert_eq!(world.refund("order1", "r3", "0.01").await.outcome(), "40004 ACQ.REFUND_AMT_NOT_EQUAL_TOTAL");
}

#[tokio::test]
async fn a_repeated_refund_moves_no_money() {
    let world = world().await;
    world.paid("order1", "10.00", None).await;
    world.refund("order1", "r1", "4.00").await;
    let replay = world.refund("order1", "r1", "4.00").await;
    assert_eq!((replay.get("fund_change"), replay.get("refund_fee")), ("N", "4.00"));
    assert_eq!(world.refund("order1", "r1", "4.01").await.outcome(), "40004 ACQ.DISCORDANT_REPEAT_REQUEST");
    assert_eq!(world.refund("order1", "r2", "6.01").await.outcome(), "40004 ACQ.REFUND_AMT_NOT_EQUAL_TOTAL");
    let refunds: Vec<_> = world
        .control
        .movements(Some(&world.app.seller_id))
        .await
        .unwrap()
        .into_iter()
        .filter(|movement| movement.kind == MovementKind::Refund)
        .collect();
    assert_eq!(refunds.len(), 1);
}

#[tokio::test]
async fn fifty_refunds_at_once_never_exceed_the_payment() {
    let world = world().await;
    world.paid("order1", "10.00", None).await;
    let calls: Vec<_> = (0..50).map(|number| format!("r{number}")).collect();
    let mut refunded = 0;
    for chunk in calls.chunks(50) {
        let answers = chunk.iter().map(|number| world.refund("order1", number, "0.30"));
        for answer in futures_join(answers).await {
            match answer.outcome().as_str() {
                "10000" => refunded += 30,
                "40004 ACQ.REFUND_AMT_NOT_EQUAL_TOTAL" => {}
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!(refunded, 990);
    let trade = world.control.trade(&world.app.app_id, "order1").await.unwrap();
    assert_eq!(trade.refunded_minor, 990);
}

async fn futures_join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    futures::future::join_all(futures).await
}

#[tokio::test]
async fn refunds_need_a_paid_trade() {
    let world = world().await;
    assert_eq!(world.refund("nowhere", "r1", "1.00").await.outcome(), "40004 ACQ.TRADE_NOT_EXIST");
    world.precreate("order1", "1.00", None).await;
    assert_eq!(world.refund("order1", "r1", "1.00").await.outcome(), "40004 ACQ.TRADE_NOT_EXIST");
    world.control.scan(world.trade("order1")).await.unwrap();
    assert_eq!(world.refund("order1", "r1", "1.00").await.outcome(), "40004 ACQ.TRADE_STATUS_ERROR");
}

#[tokio::test]
async fn only_a_full_refund_may_leave_out_its_number() {
    let world = world().await;
    world.paid("order1", "1.00", None).await;
    let refund = async |amount: &str| {
        world.call("alipay.trade.refund", json!({ "out_trade_no": "order1", "refund_amount": amount })).await
    };
    assert_eq!(refund("0.50").await.outcome(), "40004 ACQ.INVALID_PARAMETER");
    assert_eq!(refund("1.00").await.get("fund_change"), "Y");
    assert_eq!(refund("1.00").await.get("fund_change"), "N");
    let biz = json!({ "out_trade_no": "order1", "out_request_no": "order1" });
    let query = world.call("alipay.trade.fastpay.refund.query", biz).await;
    assert_eq!(query.get("refund_status"), "REFUND_SUCCESS");
}

#[tokio::test]
async fn a_refund_query_tells_whether_the_refund_happened() {
    let world = world().await;
    world.paid("order1", "10.00", None).await;
    world.refund("order1", "r1", "4.00").await;
    let query = async |biz| world.call("alipay.trade.fastpay.refund.query", biz).await;
    let known = query(json!({ "out_trade_no": "order1", "out_request_no": "r1" })).await;
    assert_eq!(
        ["refund_status", "refund_amount", "total_amount"].map(|name| known.get(name).to_owned()),
        ["REFUND_SUCCESS", "4.00", "10.00"]
    );
    assert!(known.node.get("gmt_refund_pay").is_none());
    let biz =
        json!({ "out_trade_no": "order1", "out_request_no": "r1", "query_options": ["gmt_refund_pay"] });
    assert_eq!(query(biz).await.get("gmt_refund_pay").len(), 19);
    let unknown = query(json!({ "out_trade_no": "order1", "out_request_no": "r2" })).await;
    assert_eq!(unknown.outcome(), "10000");
    assert!(unknown.node.get("refund_status").is_none());
    let no_trade = query(json!({ "out_trade_no": "nowhere", "out_request_no": "r1" })).await;
    assert_eq!(no_trade.outcome(), "40004 ACQ.TRADE_NOT_EXIST");
}

#[tokio::test]
async fn every_fen_is_booked() {
    let world = world().await;
    // 0.6 % of 100.00 is 0.60; a third of it goes back with a third of the money, the rest with the rest.
    world.paid("order1", "100.00", None).await;
    world.refund("order1", "r1", "33.33").await;
    world.refund("order1", "r2", "66.67").await;
    let movements = world.control.movements(Some(&world.app.seller_id)).await.unwrap();
    let booked: Vec<_> = movements.iter().map(|movement| (movement.kind, movement.amount_minor)).collect();
    assert_eq!(
        booked,
        [
            (MovementKind::Payment, 10_000),
            (MovementKind::Fee, -60),
            (MovementKind::Refund, -3_333),
            (MovementKind::FeeReturn, 20),
            (MovementKind::Refund, -6_667),
            (MovementKind::FeeReturn, 40),
        ]
    );
}
