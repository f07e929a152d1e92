//! GetPayment, ListPayments, GetCheckout, ListAlarms.

use tael_grpc::status::{bad_fields, reason};
use tael_ids::{MerchantId, OrderId, PaymentId};
use tael_proto::payment::v1::{
    GetCheckoutRequest, GetPaymentRequest, ListAlarmsRequest, ListPaymentsRequest, ListPaymentsResponse,
    PaymentState,
};
use tael_proto::r#type::v1::Channel;
use tonic::{Code, Status};

use crate::world::{ALIPAY_KEY, World, cny, signed_form};

#[tokio::test]
async fn another_merchants_payment_is_unknown() {
    let world = World::start().await;
    let payment = world.create().await;
    for (merchant_id, payment_id) in [
        (MerchantId::new().to_string(), payment.payment_id.clone()),
        (world.merchant_id.to_string(), PaymentId::new().to_string()),
    ] {
        let request = GetPaymentRequest { merchant_id, payment_id };
        let status = world.payments.clone().get_payment(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_deref()), (Code::NotFound, Some("PAYMENT_NOT_FOUND")));
    }
    let bad = GetPaymentRequest { merchant_id: "mer_".to_owned(), payment_id: String::new() };
    let status = world.payments.clone().get_payment(bad).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["merchant_id", "payment_id"]);
}

async fn list(world: &World, request: ListPaymentsRequest) -> Result<ListPaymentsResponse, Status> {
    world.payments.clone().list_payments(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn payments_are_listed_newest_first() {
    let world = World::start().await;
    let order = world.order();
    let first = world.try_create(&order).await.unwrap();
    let first = world.close(&first).await;
    let second = world.create().await;
    let third = world.try_create(&order).await.unwrap();
    let all = ListPaymentsRequest {
        merchant_id: world.merchant_id.to_string(),
        order_id: String::new(),
        page_size: 2,
        page_token: String::new(),
    };
    let page = list(&world, all.clone()).await.unwrap();
    assert_eq!(page.payments, [third.clone(), second]);
    let next = ListPaymentsRequest { page_token: page.next_page_token.clone(), ..all.clone() };
    let last = list(&world, next.clone()).await.unwrap();
    assert_eq!((last.payments, last.next_page_token.as_str()), (vec![first.clone()], ""));

    let of_order = ListPaymentsRequest { order_id: order.order_id.clone(), ..all.clone() };
    assert_eq!(list(&world, of_order).await.unwrap().payments, [third, first]);
    let of_none = ListPaymentsRequest { order_id: OrderId::new().to_string(), ..all.clone() };
    assert!(list(&world, of_none).await.unwrap().payments.is_empty());
    let stranger = ListPaymentsRequest { merchant_id: MerchantId::new().to_string(), ..all.clone() };
    assert!(list(&world, stranger.clone()).await.unwrap().payments.is_empty());

    for (request, field) in [
        (ListPaymentsRequest { merchant_id: stranger.merchant_id, ..next.clone() }, "page_token"),
        (ListPaymentsRequest { order_id: order.order_id, ..next.clone() }, "page_token"),
        (ListPaymentsRequest { page_token: "x".to_owned(), ..all.clone() }, "page_token"),
        (ListPaymentsRequest { page_size: 101, ..all.clone() }, "page_size"),
        (ListPaymentsRequest { order_id: "ord_".to_owned(), ..all.clone() }, "order_id"),
        (ListPaymentsRequest { merchant_id: String::new(), ..all }, "merchant_id"),
    ] {
        let status = list(&world, request).await.unwrap_err();
        assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
}

#[tokio::test]
async fn the_payer_sees_the_price_the_code_and_the_state() {
    let world = World::start().await;
    let payment = world.create().await;
    let checkout = || async {
        let request = GetCheckoutRequest { payment_id: payment.payment_id.clone() };
        world.payments.clone().get_checkout(request).await.unwrap().into_inner()
    };
    let pending = checkout().await;
    assert_eq!((pending.amount.clone(), pending.subject.as_str()), (cny(6_800), "龙井茶 100g +1"));
    assert_eq!(
        (pending.state(), pending.next_action.clone()),
        (PaymentState::Pending, payment.next_action.clone())
    );
    assert_eq!((pending.channel(), pending.failure.clone()), (Channel::Alipay, None));
    world.pay(&payment).await;
    world.eventually(&payment, PaymentState::Succeeded).await;
    let paid = checkout().await;
    assert_eq!((paid.state(), paid.next_action.clone()), (PaymentState::Succeeded, None));

    let unknown = GetCheckoutRequest { payment_id: PaymentId::new().to_string() };
    let status = world.payments.clone().get_checkout(unknown).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_deref()), (Code::NotFound, Some("PAYMENT_NOT_FOUND")));
    let bad = GetCheckoutRequest { payment_id: payment.order_id.clone() };
    assert_eq!(bad_fields(&world.payments.clone().get_checkout(bad).await.unwrap_err()), ["payment_id"]);
}

#[tokio::test]
async fn alarms_are_listed_newest_first() {
    let world = World::start().await;
    let payment = world.create().await;
    for amount in ["1.00", "2.00", "3.00"] {
        let mut fields = world.paid_fields(&payment);
        fields.insert("total_amount", amount.to_owned());
        world.notify(&world.account.channel_account_id, signed_form(&fields, &ALIPAY_KEY)).await;
    }
    let list = |merchant_id: String, page_token: String| {
        let mut payments = world.payments.clone();
        async move {
            let request = ListAlarmsRequest { merchant_id, page_size: 2, page_token };
            payments.list_alarms(request).await.map(tonic::Response::into_inner)
        }
    };
    let merchant_id = world.merchant_id.to_string();
    let page = list(merchant_id.clone(), String::new()).await.unwrap();
    let amounts: Vec<&str> = page.alarms.iter().map(|alarm| alarm.actual.as_str()).collect();
    assert_eq!(amounts, ["3.00 CNY", "2.00 CNY"]);
    let rest = list(merchant_id, page.next_page_token.clone()).await.unwrap();
    assert_eq!((rest.alarms.len(), rest.next_page_token.as_str()), (1, ""));
    let elsewhere = list(MerchantId::new().to_string(), page.next_page_token).await.unwrap_err();
    assert_eq!(bad_fields(&elsewhere), ["page_token"]);
}
