use futures::future::join_all;
use tael::clients::keyed;
use tael_journeys::{Seller, cny};
use tael_proto::order::v1::RefundProgress;
use tael_proto::payment::v1::GetPaymentRequest;
use tael_proto::refund::v1::{
    CreateRefundRequest, FullRefund, ListRefundsRequest, RefundState, create_refund_request,
};
use tael_testkit::eventually;

#[tokio::test]
async fn fifty_refunds_at_once_never_exceed_what_was_paid() {
    let mut seller = Seller::open().await;
    let (order, payment) = seller.sell().await;
    // 149.90 has room for 14 refunds of 10.00 each.
    let calls =
        (0..50).map(|_| {
            let mut client = seller.clients.refund.clone();
            let create = CreateRefundRequest {
                merchant_id: seller.shop.id(),
                order_id: order.order_id.clone(),
                scope: Some(create_refund_request::Scope::Amount(cny(10_00).unwrap())),
                reason: "a storm".to_owned(),
                force_reason: String::new(),
            };
            async move {
                client.create_refund(keyed(create)).await.map(|answer| answer.into_inner().refund.unwrap())
            }
        });
    let results = join_all(calls).await;
    let made = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(made, 14);
    for error in results.iter().filter_map(|result| result.as_ref().err()) {
        assert_eq!(tael_grpc::status::reason(error).as_deref(), Some("REFUND_EXCEEDS_ORDER"), "{error:?}");
    }
    let list =
        ListRefundsRequest { merchant_id: seller.shop.id(), page_size: 100, ..ListRefundsRequest::default() };
    eventually("all refunds to succeed", || {
        let (mut client, list) = (seller.clients.refund.clone(), list.clone());
        async move {
            let refunds = client.list_refunds(list).await.unwrap().into_inner().refunds;
            assert_eq!(refunds.len(), 14);
            refunds.iter().all(|refund| refund.state() == RefundState::Succeeded).then_some(())
        }
    })
    .await;
    let get = GetPaymentRequest { merchant_id: seller.shop.id(), payment_id: payment.payment_id.clone() };
    let payment = seller.clients.payment.get_payment(get).await.unwrap().into_inner().payment.unwrap();
    assert_eq!((payment.refunded, payment.refund_reserved), (cny(140_00), cny(0)));
    let number = payment.attempts[0].attempt_id.replace('_', "");
    let trade = seller.clients.payer.trade(&seller.shop.app.app_id, &number).await.unwrap();
    assert_eq!((trade.refunded_minor, trade.refunds.len()), (140_00, 14));

    // What is left can be refunded in full, and then nothing is left.
    let full = || CreateRefundRequest {
        merchant_id: seller.shop.id(),
        order_id: order.order_id.clone(),
        scope: Some(create_refund_request::Scope::Full(FullRefund {})),
        reason: "the rest".to_owned(),
        force_reason: String::new(),
    };
    let rest = seller.clients.refund.create_refund(keyed(full())).await.unwrap().into_inner().refund.unwrap();
    assert_eq!(rest.amount, cny(9_90));
    let error = seller.clients.refund.create_refund(keyed(full())).await.unwrap_err();
    assert_eq!(tael_grpc::status::reason(&error).as_deref(), Some("REFUND_EXCEEDS_ORDER"));
    let order = seller
        .order_when(&order.order_id, "to be refunded", |o| o.refund_progress() == RefundProgress::Full)
        .await;
    assert_eq!(order.refunded, cny(149_90));
    assert!(order.vouchers.iter().all(|voucher| voucher.voided == voucher.uses));
}
