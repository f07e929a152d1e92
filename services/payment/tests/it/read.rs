//! GetPayment, ListPayments, GetCheckout, ListIntegrityAlerts.

use tael_grpc::status::{bad_fields, reason};
use tael_ids::{MerchantId, OrderId, PaymentId};
use tael_proto::payment::v1::{
    GetCheckoutRequest, GetPaymentRequest, ListIntegrityAlertsRequest, ListPaymentsRequest,
    ListPaymentsResponse, PaymentState,
};
use tael_proto::r#type::v1::Channel;
use tonic::{Code, Status};

use crate::fixture::{ALIPAY_KEY, Fixture, cny, signed_form};

#[tokio::test]
async fn another_merchants_payment_is_unknown() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    for (merchant_id, payment_id) in [
        (MerchantId::new().to_string(), payment.payment_id.clone()),
        (fixture.merchant_id.to_string(), PaymentId::new().to_string()),
    ] {
        let request = GetPaymentRequest { merchant_id, payment_id };
        let status = fixture.payments.clone().get_payment(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_deref()), (Code::NotFound, Some("PAYMENT_NOT_FOUND")));
    }
    let bad = GetPaymentRequest { merchant_id: "mer_".to_owned(), payment_id: String::new() };
    let status = fixture.payments.clone().get_payment(bad).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["merchant_id", "payment_id"]);
}

async fn list(fixture: &Fixture, request: ListPaymentsRequest) -> Result<ListPaymentsResponse, Status> {
    fixture.payments.clone().list_payments(request).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn payments_are_listed_newest_first() {
    let fixture = Fixture::start().await;
    let order = fixture.order();
    let first = fixture.try_create(&order).await.unwrap();
    let first = fixture.close(&first).await;
    let second = fixture.create().await;
    let third = fixture.try_create(&order).await.unwrap();
    let all = ListPaymentsRequest {
        merchant_id: fixture.merchant_id.to_string(),
        order_id: String::new(),
        page_size: 2,
        page_token: String::new(),
    };
    let page = list(&fixture, all.clone()).await.unwrap();
    assert_eq!(page.payments, [third.clone(), second]);
    let next = ListPaymentsRequest { page_token: page.next_page_token.clone(), ..all.clone() };
    let last = list(&fixture, next.clone()).await.unwrap();
    assert_eq!((last.payments, last.next_page_token.as_str()), (vec![first.clone()], ""));

    let of_order = ListPaymentsRequest { order_id: order.order_id.clone(), ..all.clone() };
    assert_eq!(list(&fixture, of_order).await.unwrap().payments, [third, first]);
    let of_none = ListPaymentsRequest { order_id: OrderId::new().to_string(), ..all.clone() };
    assert!(list(&fixture, of_none).await.unwrap().payments.is_empty());
    let stranger = ListPaymentsRequest { merchant_id: MerchantId::new().to_string(), ..all.clone() };
    assert!(list(&fixture, stranger.clone()).await.unwrap().payments.is_empty());

    for (request, field) in [
        (ListPaymentsRequest { merchant_id: stranger.merchant_id, ..next.clone() }, "page_token"),
        (ListPaymentsRequest { order_id: order.order_id, ..next.clone() }, "page_token"),
        (ListPaymentsRequest { page_token: "x".to_owned(), ..all.clone() }, "page_token"),
        (ListPaymentsRequest { page_size: 101, ..all.clone() }, "page_size"),
        (ListPaymentsRequest { order_id: "ord_".to_owned(), ..all.clone() }, "order_id"),
        (ListPaymentsRequest { merchant_id: String::new(), ..all }, "merchant_id"),
    ] {
        let status = list(&fixture, request).await.unwrap_err();
        assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }
}

#[tokio::test]
async fn the_payer_sees_the_price_the_code_and_the_state() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    let checkout = || async {
        let request = GetCheckoutRequest { payment_id: payment.payment_id.clone() };
        fixture.payments.clone().get_checkout(request).await.unwrap().into_inner()
    };
    let pending = checkout().await;
    assert_eq!((pending.amount.clone(), pending.subject.as_str()), (cny(6_800), "龙井茶 100g +1"));
    assert_eq!(
        (pending.state(), pending.next_action.clone()),
        (PaymentState::Pending, payment.next_action.clone())
    );
    assert_eq!((pending.channel(), pending.failure.clone()), (Channel::Alipay, None));
    fixture.pay(&payment).await;
    fixture.eventually(&payment, PaymentState::Succeeded).await;
    let paid = checkout().await;
    assert_eq!((paid.state(), paid.next_action.clone()), (PaymentState::Succeeded, None));

    let unknown = GetCheckoutRequest { payment_id: PaymentId::new().to_string() };
    let status = fixture.payments.clone().get_checkout(unknown).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_deref()), (Code::NotFound, Some("PAYMENT_NOT_FOUND")));
    let bad = GetCheckoutRequest { payment_id: payment.order_id.clone() };
    assert_eq!(bad_fields(&fixture.payments.clone().get_checkout(bad).await.unwrap_err()), ["payment_id"]);
}

#[tokio::test]
async fn integrity_alerts_are_listed_newest_first() {
    let fixture = Fixture::start().await;
    let payment = fixture.create().await;
    for amount in ["1.00", "2.00", "3.00"] {
        let mut fields = fixture.paid_fields(&payment);
        fields.insert("total_amount", amount.to_owned());
        fixture.notify(&fixture.account.channel_account_id, signed_form(&fields, &ALIPAY_KEY)).await;
    }
    let list = |merchant_id: String, page_token: String| {
        let mut alerts = fixture.integrity_alerts.clone();
        async move {
            let request = ListIntegrityAlertsRequest { merchant_id, page_size: 2, page_token };
            alerts.list_integrity_alerts(request).await.map(tonic::Response::into_inner)
        }
    };
    let merchant_id = fixture.merchant_id.to_string();
    let page = list(merchant_id.clone(), String::new()).await.unwrap();
    let amounts: Vec<&str> = page.integrity_alerts.iter().map(|alert| alert.actual.as_str()).collect();
    assert_eq!(amounts, ["3.00 CNY", "2.00 CNY"]);
    let rest = list(merchant_id, page.next_page_token.clone()).await.unwrap();
    assert_eq!((rest.integrity_alerts.len(), rest.next_page_token.as_str()), (1, ""));
    let elsewhere = list(MerchantId::new().to_string(), page.next_page_token).await.unwrap_err();
    assert_eq!(bad_fields(&elsewhere), ["page_token"]);
}
