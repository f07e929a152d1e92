//! Money that comes for an order that was given up: by the merchant's policy it is held, taken or given back, and the
//! ledger has it in suspense as long as nobody has decided.
#![expect(clippy::unwrap_used, reason = "a test ends where it finds what must not be")]

use tael::clients::keyed;
use tael_journeys::{Seller, cny};
use tael_proto::order::v1::{
    CancelOrderRequest, LatePaymentAction, LatePaymentPolicy, ListUnappliedPaymentsRequest, Order,
    OrderState, ResolveUnappliedPaymentRequest, SetLatePaymentPolicyRequest, UnappliedPayment,
    UnappliedPaymentState, UnappliedReason,
};
use tael_proto::payment::v1::Payment;
use tael_proto::settlement::v1::{AccountKind, ListAccountsRequest};
use tael_sandbox::control::Fault;
use tael_testkit::eventually;

const PRICE: i64 = 149_90;

/// An order that was cancelled and paid all the same, for the channel said that it had closed the payment and had not.
async fn paid_after_cancel(seller: &mut Seller) -> (Order, Payment) {
    let order = seller.order().await;
    let payment = seller.payment(&order).await;
    for method in ["alipay.trade.close", "alipay.trade.cancel"] {
        seller.fault(Some(method), Fault::PretendClosed).await;
    }
    let cancel = CancelOrderRequest { merchant_id: seller.shop.id(), order_id: order.order_id.clone() };
    let order = seller.clients.order.cancel_order(keyed(cancel)).await.unwrap().into_inner().order.unwrap();
    assert_eq!(order.state(), OrderState::Cancelled);
    seller.pay(&payment).await;
    (order, payment)
}

async fn set_policy(seller: &mut Seller, action: LatePaymentAction) {
    let policy =
        LatePaymentPolicy { closed_order: action.into(), overpayment: LatePaymentAction::Hold.into() };
    let set = SetLatePaymentPolicyRequest { merchant_id: seller.shop.id(), policy: Some(policy) };
    seller.clients.unapplied_payment.set_late_payment_policy(keyed(set)).await.unwrap();
}

fn held(order: &Order) -> Option<&UnappliedPayment> {
    order.unapplied_payments.first()
}

/// Waits until all that went through suspense, and what is still there, are as expected, in fen.
async fn suspense_is(seller: &Seller, through: i64, left: i64) {
    eventually(&format!("{through} fen through suspense, {left} left"), || {
        let mut client = seller.clients.ledger.clone();
        let list = ListAccountsRequest { merchant_id: seller.shop.id() };
        async move {
            let accounts = client.list_accounts(list).await.unwrap().into_inner().accounts;
            let suspense = accounts.into_iter().find(|a| a.kind() == AccountKind::Suspense)?;
            let (debits, credits) = (suspense.debits?.minor, suspense.credits?.minor);
            (credits == through && credits - debits == left).then_some(())
        }
    })
    .await;
}

async fn given_back(seller: &Seller, payment: &Payment) -> i64 {
    let number = payment.attempts[0].attempt_id.replace('_', "");
    seller.clients.payer.trade(&seller.shop.app.app_id, &number).await.unwrap().refunded_minor
}

#[tokio::test]
async fn late_money_is_held_in_suspense_until_somebody_gives_it_back() {
    let mut seller = Seller::open().await;
    let (order, payment) = paid_after_cancel(&mut seller).await;
    let order = seller.order_when(&order.order_id, "to hold the money", |o| held(o).is_some()).await;
    assert_eq!(order.state(), OrderState::Cancelled);
    let money = held(&order).unwrap();
    assert_eq!((money.reason(), money.state()), (UnappliedReason::ClosedOrder, UnappliedPaymentState::Held));
    assert_eq!((money.payment_id.as_str(), money.amount.clone()), (payment.payment_id.as_str(), cny(PRICE)));
    suspense_is(&seller, PRICE, PRICE).await;

    let list = ListUnappliedPaymentsRequest { merchant_id: seller.shop.id(), ..Default::default() };
    let listed = seller
        .clients
        .unapplied_payment
        .list_unapplied_payments(list)
        .await
        .unwrap()
        .into_inner()
        .unapplied_payments;
    assert_eq!(listed.len(), 1);
    let resolve = ResolveUnappliedPaymentRequest {
        merchant_id: seller.shop.id(),
        order_id: order.order_id.clone(),
        payment_id: payment.payment_id.clone(),
        action: LatePaymentAction::Refund.into(),
        operator: "ann".to_owned(),
    };
    seller.clients.unapplied_payment.resolve_unapplied_payment(keyed(resolve)).await.unwrap();
    seller
        .order_when(&order.order_id, "to have given the money back", |o| {
            held(o).is_some_and(|money| money.state() == UnappliedPaymentState::Refunded)
        })
        .await;
    assert_eq!(given_back(&seller, &payment).await, PRICE);
    suspense_is(&seller, PRICE, 0).await;
}

#[tokio::test]
async fn late_money_is_given_back_by_itself_where_the_merchant_wants_that() {
    let mut seller = Seller::open().await;
    set_policy(&mut seller, LatePaymentAction::Refund).await;
    let (order, payment) = paid_after_cancel(&mut seller).await;
    let order = seller
        .order_when(&order.order_id, "to have given the money back", |o| {
            held(o).is_some_and(|money| money.state() == UnappliedPaymentState::Refunded)
        })
        .await;
    assert_eq!((order.state(), order.refunded), (OrderState::Cancelled, cny(0)));
    assert_eq!(given_back(&seller, &payment).await, PRICE);
    suspense_is(&seller, PRICE, 0).await;
}

#[tokio::test]
async fn late_money_pays_the_order_after_all_where_the_merchant_wants_that() {
    let mut seller = Seller::open().await;
    set_policy(&mut seller, LatePaymentAction::Accept).await;
    let (order, payment) = paid_after_cancel(&mut seller).await;
    let order = seller.order_when(&order.order_id, "to be paid", |o| o.state() == OrderState::Paid).await;
    assert_eq!((order.payment_id, order.vouchers.len()), (payment.payment_id.clone(), 1));
    assert_eq!(
        order.unapplied_payments.first().map(UnappliedPayment::state),
        Some(UnappliedPaymentState::Accepted)
    );
    assert_eq!(given_back(&seller, &payment).await, 0);
    suspense_is(&seller, PRICE, 0).await;
}
