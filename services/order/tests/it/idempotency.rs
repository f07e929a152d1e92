//! Repeated calls have one effect and one answer, with Redis and without.

use futures::future::join_all;
use secrecy::SecretString;
use tael_ids::PaymentId;
use tael_proto::event::v1::payload::Kind;
use tael_proto::order::v1::{
    CancelOrderRequest, CreatePromotionRequest, ListOrdersRequest, RedeemVoucherRequest,
};
use tael_testkit::{new_key, no_redis_url, redis_url, with_key};
use tonic::Code;

use crate::fixture::{Fixture, assert_reason, cny, line, succeeded, total, voucher_line};

const REUSED: &str = "IDEMPOTENCY_KEY_REUSED";

fn with_and_without_redis() -> [SecretString; 2] {
    [redis_url(), no_redis_url()]
}

#[tokio::test]
async fn fifty_equal_create_calls_make_one_order() {
    for redis in with_and_without_redis() {
        let fixture = Fixture::with_redis(redis).await;
        fixture.promotion(cny(100), cny(10)).await;
        let key = new_key();
        let request = fixture.request(vec![line("tea", 1, cny(100)), line("cup", 2, cny(250))]);
        let answers = join_all((0..50).map(|_| {
            let (mut orders, request) = (fixture.orders.clone(), with_key(&key, request.clone()));
            async move { orders.create_order(request).await.unwrap().into_inner().order.unwrap() }
        }))
        .await;
        assert!(answers.iter().all(|order| *order == answers[0]));
        let list =
            ListOrdersRequest { merchant_id: fixture.merchant.to_string(), ..ListOrdersRequest::default() };
        assert_eq!(fixture.orders.clone().list_orders(list).await.unwrap().into_inner().orders.len(), 1);
        assert_eq!(fixture.until_events(1, |k| matches!(k, Kind::OrderCreated(_))).await.len(), 1);

        let other = fixture.request(vec![line("tea", 2, cny(100))]);
        let status = fixture.orders.clone().create_order(with_key(&key, other)).await.unwrap_err();
        assert_reason(&status, Code::AlreadyExists, REUSED);
    }
}

#[tokio::test]
async fn a_repeated_create_call_is_answered_even_when_it_would_be_refused_now() {
    let fixture = Fixture::with_redis(no_redis_url()).await;
    let key = new_key();
    let request = fixture.request(vec![line("tea", 1, cny(100))]);
    let create = async || {
        fixture.orders.clone().create_order(with_key(&key, request.clone())).await.unwrap().into_inner()
    };
    let first = create().await;
    fixture.promotion(cny(100), cny(100)).await;
    assert_eq!(create().await, first);
}

#[tokio::test]
async fn fifty_equal_promotion_calls_make_one_promotion() {
    for redis in with_and_without_redis() {
        let fixture = Fixture::with_redis(redis).await;
        let key = new_key();
        let request = CreatePromotionRequest {
            merchant_id: fixture.merchant.to_string(),
            name: "spring".into(),
            threshold: Some(cny(100)),
            saving: Some(cny(10)),
        };
        let answers = join_all((0..50).map(|_| {
            let (mut orders, request) = (fixture.promotions(), with_key(&key, request.clone()));
            async move { orders.create_promotion(request).await.unwrap().into_inner() }
        }))
        .await;
        assert!(answers.iter().all(|answer| *answer == answers[0]));

        let other = CreatePromotionRequest { name: "autumn".into(), ..request };
        let status = fixture.promotions().create_promotion(with_key(&key, other)).await.unwrap_err();
        assert_reason(&status, Code::AlreadyExists, REUSED);
    }
}

#[tokio::test]
async fn fifty_equal_redemptions_redeem_once() {
    for redis in with_and_without_redis() {
        let fixture = Fixture::with_redis(redis).await;
        // With uses to spare, and with just the one.
        for uses in [60, 1] {
            let order = fixture.create(fixture.request(vec![voucher_line("tasting", uses, cny(100))])).await;
            let voucher = fixture.pay(&order).await.vouchers.remove(0);
            let key = new_key();
            let request = RedeemVoucherRequest {
                merchant_id: fixture.merchant.to_string(),
                code: voucher.code.clone(),
                count: 1,
                terminal: "till-1".into(),
                operator: "Li".into(),
            };
            let answers = join_all((0..50).map(|_| {
                let (mut orders, request) = (fixture.vouchers(), with_key(&key, request.clone()));
                async move { orders.redeem_voucher(request).await.unwrap().into_inner() }
            }))
            .await;
            assert!(answers.iter().all(|answer| *answer == answers[0]));
            assert_eq!(answers[0].voucher.as_ref().unwrap().redeemed, 1);
            assert_eq!(fixture.voucher(&voucher.code).await.unwrap().redeemed, 1);

            let other = RedeemVoucherRequest { operator: "Wang".into(), ..request };
            let status = fixture.vouchers().redeem_voucher(with_key(&key, other)).await.unwrap_err();
            assert_reason(&status, Code::AlreadyExists, REUSED);
        }
        let redeemed = fixture.until_events(2, |k| matches!(k, Kind::VoucherRedeemed(_))).await;
        assert_eq!(redeemed.len(), 2);
    }
}

#[tokio::test]
async fn a_repeated_redemption_is_answered_as_it_was_then() {
    let fixture = Fixture::with_redis(no_redis_url()).await;
    let order = fixture.create(fixture.request(vec![voucher_line("tasting", 3, cny(100))])).await;
    let code = fixture.pay(&order).await.vouchers.remove(0).code;
    let request = RedeemVoucherRequest {
        merchant_id: fixture.merchant.to_string(),
        code,
        count: 1,
        terminal: "till-1".into(),
        operator: "Li".into(),
    };
    let redeem = async |key: &str| {
        let request = with_key(key, request.clone());
        fixture.vouchers().redeem_voucher(request).await.unwrap().into_inner()
    };
    let (first_key, second_key) = (new_key(), new_key());
    let first = redeem(&first_key).await;
    let second = redeem(&second_key).await;
    assert_eq!((first.voucher.clone().unwrap().redeemed, second.voucher.clone().unwrap().redeemed), (1, 2));
    assert_eq!(redeem(&first_key).await, first);
    assert_eq!(redeem(&second_key).await, second);
}

#[tokio::test]
async fn fifty_equal_cancel_calls_cancel_once() {
    for redis in with_and_without_redis() {
        let fixture = Fixture::with_redis(redis).await;
        let order = fixture.order().await;
        let key = new_key();
        let request = CancelOrderRequest {
            merchant_id: fixture.merchant.to_string(),
            order_id: order.order_id.clone(),
        };
        let answers = join_all((0..50).map(|_| {
            let (mut orders, request) = (fixture.orders.clone(), with_key(&key, request.clone()));
            async move { orders.cancel_order(request).await.unwrap().into_inner() }
        }))
        .await;
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        assert_eq!(fixture.until_events(1, |k| matches!(k, Kind::OrderCancelled(_))).await.len(), 1);
    }
}

#[tokio::test]
async fn an_event_that_comes_twice_pays_once() {
    let fixture = Fixture::start().await;
    let order = fixture.create(fixture.request(vec![voucher_line("tasting", 1, cny(100))])).await;
    let event = succeeded(&order, PaymentId::new(), total(&order));
    fixture.payments.log.push_all(fixture.merchant, [event.clone(), event.clone()]);
    fixture.until_state(&order, tael_proto::order::v1::OrderState::Paid).await;
    fixture.payments.log.push(fixture.merchant, event);
    // A later event's effect shows that all before it were applied.
    let last = fixture.order().await;
    fixture.pay(&last).await;

    let order = fixture.get(&order).await;
    assert_eq!((order.vouchers.len(), order.unapplied_payments.len()), (1, 0));
    let paid = fixture.until_events(2, |k| matches!(k, Kind::OrderPaid(_))).await;
    assert_eq!(paid.len(), 2);
    assert_eq!(fixture.until_events(1, |k| matches!(k, Kind::VoucherIssued(_))).await.len(), 1);
}
