//! A merchant's own order number is the number of one order, which is found by it.

use futures::future::join_all;
use tael_ids::{MerchantId, OrderId};
use tael_proto::order::v1::{CreateOrderRequest, ListOrdersRequest, Order, OrderState};
use tael_testkit::{keyed, no_redis_url, redis_url};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, assert_bad_fields, assert_reason, cny, line};

fn numbered(fixture: &Fixture, reference: &str, minor: i64) -> CreateOrderRequest {
    CreateOrderRequest {
        merchant_reference: reference.to_owned(),
        ..fixture.request(vec![line("tea", 1, cny(minor))])
    }
}

/// Each under an idempotency key of its own.
async fn create(fixture: &Fixture, request: CreateOrderRequest) -> Result<Order, Status> {
    Ok(fixture.orders.clone().create_order(keyed(request)).await?.into_inner().order.unwrap())
}

async fn found(fixture: &Fixture, reference: &str, state: OrderState) -> Vec<Order> {
    let request = ListOrdersRequest {
        merchant_id: fixture.merchant.to_string(),
        merchant_reference: reference.to_owned(),
        state: state.into(),
        ..ListOrdersRequest::default()
    };
    fixture.orders.clone().list_orders(request).await.unwrap().into_inner().orders
}

#[tokio::test]
async fn a_repeated_number_is_answered_with_the_first_order_and_another_order_is_refused() {
    let mut fixture = Fixture::start().await;
    let first = create(&fixture, numbered(&fixture, "shop-1", 100)).await.unwrap();
    assert_eq!(create(&fixture, numbered(&fixture, "shop-1", 100)).await.unwrap(), first);
    let paid = fixture.pay(&first).await;
    let again = create(&fixture, numbered(&fixture, "shop-1", 100)).await.unwrap();
    assert_eq!((again.state(), again.order_id), (OrderState::Paid, paid.order_id), "as it stands by now");

    let refused = create(&fixture, numbered(&fixture, "shop-1", 101)).await.unwrap_err();
    assert_reason(&refused, Code::AlreadyExists, "MERCHANT_REFERENCE_REUSED");
    let metadata = refused.get_details_error_info().unwrap().metadata;
    assert_eq!((&metadata["order_id"], metadata["merchant_reference"].as_str()), (&first.order_id, "shop-1"));

    // Orders without a number have nothing in common, and neither have those of two merchants.
    let (one, two) = (fixture.order().await, fixture.order().await);
    assert_ne!(one.order_id, two.order_id);
    fixture.merchant = MerchantId::new();
    let other = create(&fixture, numbered(&fixture, "shop-1", 101)).await.unwrap();
    assert_ne!(other.order_id, first.order_id);
}

#[tokio::test]
async fn of_fifty_calls_with_one_number_at_once_one_makes_the_order() {
    for redis in [redis_url(), no_redis_url()] {
        let fixture = Fixture::with_redis(redis).await;
        let answers = join_all((0..50).map(|at| {
            // Half of them ask for one order, the others for another one.
            create(&fixture, numbered(&fixture, "shop-1", 100 + at % 2))
        }))
        .await;
        let made: Vec<&Order> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
        assert_eq!(made.len(), 25);
        assert!(made.iter().all(|order| order.order_id == made[0].order_id));
        for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
            assert_reason(refused, Code::AlreadyExists, "MERCHANT_REFERENCE_REUSED");
        }
        assert_eq!(found(&fixture, "shop-1", OrderState::Unspecified).await.len(), 1);
    }
}

#[tokio::test]
async fn orders_are_found_by_their_numbers() {
    let fixture = Fixture::start().await;
    let order = create(&fixture, numbered(&fixture, "shop-7", 100)).await.unwrap();
    create(&fixture, numbered(&fixture, "shop-70", 100)).await.unwrap();
    fixture.order().await;
    let all = found(&fixture, "shop-7", OrderState::Unspecified).await;
    assert_eq!(all, std::slice::from_ref(&order));
    assert_eq!(found(&fixture, "shop-7", OrderState::PendingPayment).await, [order]);
    assert_eq!(found(&fixture, "shop-7", OrderState::Paid).await, []);
    assert_eq!(found(&fixture, "shop-8", OrderState::Unspecified).await, []);
    // A token fits the list that gave it, and no other.
    let list = |page_token: String, reference: &str| ListOrdersRequest {
        merchant_id: fixture.merchant.to_string(),
        page_size: 1,
        page_token,
        merchant_reference: reference.to_owned(),
        ..ListOrdersRequest::default()
    };
    let mut orders = fixture.orders.clone();
    let page = orders.list_orders(list(String::new(), "")).await.unwrap().into_inner();
    let elsewhere = orders.list_orders(list(page.next_page_token, "shop-7")).await.unwrap_err();
    assert_bad_fields(&elsewhere, &["page_token"]);
}

/// What the version before this one inserts: with a number, which it did not ask for.
async fn insert_as_before(fixture: &Fixture, reference: &str) -> OrderId {
    let id = OrderId::new();
    sqlx::query(
        "insert into orders (merchant_id, order_id, merchant_reference, state, currency, items_minor, discount_minor,
                             shipping_minor, total_minor, create_time, expire_time, next_expiry_try, idempotency_key,
                             fingerprint)
         values ($1, $2, $3, 'cancelled', 'CNY', 100, 0, 0, 100, now(), now() + interval '1 hour', now(), $4, 'x')",
    )
    .bind(fixture.merchant.uuid())
    .bind(id.uuid())
    .bind(reference)
    .bind(id.to_string())
    .execute(&fixture.database.pool())
    .await
    .unwrap();
    id
}

#[tokio::test]
async fn numbers_that_were_given_twice_before_stay_and_are_not_given_again() {
    let fixture = Fixture::start().await;
    let (first, second) =
        (insert_as_before(&fixture, "old-1").await, insert_as_before(&fixture, "old-1").await);
    let ids: Vec<String> =
        found(&fixture, "old-1", OrderState::Unspecified).await.into_iter().map(|o| o.order_id).collect();
    assert_eq!(ids, [second.to_string(), first.to_string()]);
    let refused = create(&fixture, numbered(&fixture, "old-1", 100)).await.unwrap_err();
    assert_reason(&refused, Code::AlreadyExists, "MERCHANT_REFERENCE_REUSED");
    assert_eq!(refused.get_details_error_info().unwrap().metadata["order_id"], first.to_string());
}
