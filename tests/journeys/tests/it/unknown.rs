use tael::clients::keyed;
use tael_journeys::{Seller, cny};
use tael_proto::order::v1::{CancelOrderRequest, OrderState};
use tael_proto::payment::v1::{PaymentState, next_action};
use tael_proto::refund::v1::{CreateRefundRequest, GetRefundRequest, RefundState, create_refund_request};
use tael_sandbox::control::{Fault, TradeRef};
use tael_testkit::eventually;

#[tokio::test]
async fn a_payment_whose_answer_was_lost_is_not_failed_but_found_out() {
    let mut seller = Seller::open().await;
    let order = seller.order().await;
    seller.fault(Some("alipay.trade.precreate"), Fault::TimeOutAfter { hang_ms: 0 }).await;
    let payment = seller.payment(&order).await;
    assert_eq!(payment.state(), PaymentState::Created);
    assert!(payment.attempts[0].in_doubt);
    let payment = seller.payment_when(&payment.payment_id, PaymentState::Pending).await;
    assert_eq!(payment.attempts.len(), 1, "asked again under the same number");
    seller.pay(&payment).await;
    seller.order_when(&order.order_id, "to be paid", |o| o.state() == OrderState::Paid).await;
}

#[tokio::test]
async fn a_refund_whose_answer_was_lost_moves_money_once() {
    let mut seller = Seller::open().await;
    let (order, payment) = seller.sell().await;
    seller.fault(Some("alipay.trade.refund"), Fault::TimeOutAfter { hang_ms: 0 }).await;
    let create = CreateRefundRequest {
        merchant_id: seller.shop.id(),
        order_id: order.order_id.clone(),
        scope: Some(create_refund_request::Scope::Amount(cny(12_34).unwrap())),
        reason: "lost answer".to_owned(),
        force_reason: String::new(),
    };
    let refund =
        seller.clients.refund.create_refund(keyed(create)).await.unwrap().into_inner().refund.unwrap();
    assert!(seller.faults_are_used_up().await, "the answer was lost");
    eventually("the refund to succeed", || {
        let mut client = seller.clients.refund.clone();
        let get = GetRefundRequest { merchant_id: seller.shop.id(), refund_id: refund.refund_id.clone() };
        async move {
            let refund = client.get_refund(get).await.unwrap().into_inner().refund.unwrap();
            (refund.state() == RefundState::Succeeded).then_some(())
        }
    })
    .await;
    let number = payment.attempts[0].attempt_id.replace('_', "");
    let trade = seller.clients.payer.trade(&seller.shop.app.app_id, &number).await.unwrap();
    assert_eq!((trade.refunded_minor, trade.refunds.len()), (12_34, 1));
}

#[tokio::test]
async fn a_cancelled_order_can_no_longer_be_paid_at_the_channel() {
    let mut seller = Seller::open().await;
    let order = seller.order().await;
    let payment = seller.payment(&order).await;
    let cancel = CancelOrderRequest { merchant_id: seller.shop.id(), order_id: order.order_id.clone() };
    let order = seller.clients.order.cancel_order(keyed(cancel)).await.unwrap().into_inner().order.unwrap();
    assert_eq!(order.state(), OrderState::Cancelled);
    seller.payment_when(&payment.payment_id, PaymentState::Closed).await;
    let Some(next_action::Action::QrCode(qr_code)) = payment.next_action.unwrap().action else {
        panic!("no QR code")
    };
    assert!(seller.clients.payer.pay(TradeRef::code(qr_code)).await.is_err());
}
