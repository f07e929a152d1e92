use futures::future::join_all;
use tael_journeys::Seller;
use tael_proto::order::v1::{GetOrderRequest, OrderState};
use tael_proto::payment::v1::ListPaymentsRequest;
use tael_testkit::{new_key, with_key};

#[tokio::test]
async fn fifty_equal_payment_calls_make_one_payment_and_one_order_at_the_channel() {
    let mut seller = Seller::open().await;
    let order = seller.order().await;
    let key = new_key();
    let calls = (0..50).map(|_| {
        let mut client = seller.clients.payment.clone();
        let request = with_key(&key, seller.payment_request(&order));
        async move { client.create_payment(request).await.unwrap().into_inner() }
    });
    let answers = join_all(calls).await;
    assert!(answers.iter().all(|answer| answer == &answers[0]));
    let list = ListPaymentsRequest { merchant_id: seller.shop.id(), ..ListPaymentsRequest::default() };
    let payments = seller.clients.payment.list_payments(list).await.unwrap().into_inner().payments;
    assert_eq!(payments.len(), 1);
    assert_eq!(payments[0].attempts.len(), 1);
}

#[tokio::test]
async fn two_payments_of_one_order_cannot_both_be_open() {
    let mut seller = Seller::open().await;
    let order = seller.order().await;
    let first = seller.payment(&order).await;
    let again = seller.payment_request(&order);
    let refused = seller.clients.payment.create_payment(tael::clients::keyed(again)).await.unwrap_err();
    assert_eq!(tael_grpc::status::reason(&refused).as_deref(), Some("ORDER_HAS_ACTIVE_PAYMENT"));
    seller.pay(&first).await;
    seller.order_when(&order.order_id, "to be paid", |o| o.state() == OrderState::Paid).await;
}

#[tokio::test]
async fn another_merchant_sees_nothing() {
    let mut seller = Seller::open().await;
    let other = Seller::open().await;
    let order = seller.order().await;
    let get = GetOrderRequest {
        merchant_id: other.shop.id(),
        order_id: order.order_id.clone(),
        ..Default::default()
    };
    let error = seller.clients.order.get_order(get).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::NotFound);
    let foreign = other.payment_request(&order);
    let error = seller.clients.payment.create_payment(tael::clients::keyed(foreign)).await.unwrap_err();
    assert_eq!(tael_grpc::status::reason(&error).as_deref(), Some("ORDER_NOT_FOUND"));
}
