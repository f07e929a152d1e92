//! GetOrder and ListOrders.

use tael_ids::{MerchantId, OrderId, PaymentId};
use tael_proto::order::v1::{GetOrderRequest, ListOrdersRequest, ListOrdersResponse, OrderState};
use tonic::{Code, Status};

use crate::fixture::{Fixture, assert_bad_fields, assert_reason, cny, line, succeeded, voucher_line};

async fn list(fixture: &Fixture, request: ListOrdersRequest) -> Result<ListOrdersResponse, Status> {
    let merchant_id = fixture.merchant.to_string();
    let request = ListOrdersRequest { merchant_id, ..request };
    fixture.orders.clone().list_orders(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn unknown_orders_and_those_of_others_are_not_found() {
    let fixture = Fixture::start().await;
    let order = fixture.order().await;
    let ours = fixture.merchant.to_string();
    for (merchant_id, order_id) in
        [(ours, OrderId::new().to_string()), (MerchantId::new().to_string(), order.order_id)]
    {
        let request = GetOrderRequest { merchant_id, order_id, with_contact: false };
        let status = fixture.orders.clone().get_order(request).await.unwrap_err();
        assert_reason(&status, Code::NotFound, "ORDER_NOT_FOUND");
    }
}

#[tokio::test]
async fn malformed_ids_are_named() {
    let fixture = Fixture::start().await;
    let request = GetOrderRequest {
        merchant_id: "x".into(),
        order_id: MerchantId::new().to_string(),
        with_contact: true,
    };
    let status = fixture.orders.clone().get_order(request).await.unwrap_err();
    assert_bad_fields(&status, &["merchant_id", "order_id"]);
    let status = fixture.orders.clone().get_order(GetOrderRequest::default()).await.unwrap_err();
    assert_bad_fields(&status, &["merchant_id", "order_id"]);
}

#[tokio::test]
async fn a_list_is_walked_newest_first_with_all_that_belongs_to_the_orders() {
    let mut fixture = Fixture::start().await;
    let ours = fixture.merchant;
    fixture.merchant = MerchantId::new();
    fixture.order().await;
    fixture.merchant = ours;

    let plain = fixture.order().await;
    let lines = vec![line("tea", 1, cny(100)), voucher_line("tasting", 2, cny(200))];
    let paid = fixture.create(fixture.request(lines)).await;
    let held = fixture.order().await;
    let paid = fixture.pay(&paid).await;
    fixture.payments.log.push(ours, succeeded(&held, PaymentId::new(), cny(1)));
    let held = fixture.until("money to be held", &held, |order| order.unapplied_payments.len() == 1).await;
    assert_eq!(paid.vouchers.len(), 1);

    let first = list(&fixture, ListOrdersRequest { page_size: 2, ..Default::default() }).await.unwrap();
    assert_eq!(first.orders, [held.clone(), paid.clone()]);
    let page_token = first.next_page_token;
    let request = ListOrdersRequest { page_size: 2, page_token: page_token.clone(), ..Default::default() };
    let second = list(&fixture, request.clone()).await.unwrap();
    assert_eq!((second.orders, second.next_page_token.as_str()), (vec![plain.clone()], ""));

    let of_state = |state: OrderState| ListOrdersRequest { state: state.into(), ..Default::default() };
    assert_eq!(list(&fixture, of_state(OrderState::Paid)).await.unwrap().orders, [paid]);
    assert_eq!(list(&fixture, of_state(OrderState::PendingPayment)).await.unwrap().orders, [held, plain]);
    assert_eq!(list(&fixture, of_state(OrderState::Expired)).await.unwrap().orders, []);

    // A token fits the list that gave it, and no other.
    let other_filter = ListOrdersRequest { state: OrderState::Paid.into(), ..request.clone() };
    assert_bad_fields(&list(&fixture, other_filter).await.unwrap_err(), &["page_token"]);
    fixture.merchant = MerchantId::new();
    assert_bad_fields(&list(&fixture, request).await.unwrap_err(), &["page_token"]);
}

#[tokio::test]
async fn bad_fields_of_a_list_are_named() {
    let fixture = Fixture::start().await;
    let request = ListOrdersRequest {
        merchant_id: String::new(),
        state: 99,
        page_size: 101,
        page_token: "elsewhere".into(),
        merchant_reference: "x".repeat(65),
    };
    let status = fixture.orders.clone().list_orders(request).await.unwrap_err();
    assert_bad_fields(&status, &["merchant_id", "state", "merchant_reference", "page_size", "page_token"]);
}
