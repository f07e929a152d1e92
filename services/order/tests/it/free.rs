//! Orders of which nothing is to be paid, and lines that are free of charge.

use jiff::SignedDuration;
use tael_ids::{PaymentId, RefundId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::order::v1::{
    CancelOrderRequest, CreateOrderRequest, OrderState, RefundProgress, UnappliedPaymentState,
    UnappliedReason, VoidVoucherRequest,
};
use tael_testkit::{eventually, keyed, new_key, no_redis_url, redis_url, with_key};
use tonic::Code;

use crate::fixture::{
    Fixture, START, assert_bad_fields, assert_reason, cny, kind, line, refunded, succeeded, voucher_line,
};

#[tokio::test]
async fn an_order_of_total_zero_is_paid_at_once_and_has_its_vouchers() {
    let fixture = Fixture::start().await;
    let promotion = fixture.promotion(cny(5_000), cny(5_000)).await;
    let lines = vec![voucher_line("tasting", 3, cny(1_000)), line("tea", 2, cny(1_000))];
    let order = fixture.create(fixture.request(lines)).await;
    assert_eq!((order.state(), order.payment_id.as_str()), (OrderState::Paid, ""));
    let price = order.price.as_ref().unwrap();
    assert_eq!((price.discount.clone(), price.total.clone()), (Some(cny(5_000)), Some(cny(0))));
    assert_eq!(price.promotion_id, promotion.promotion_id);
    assert!(order.lines.iter().all(|line| line.total == Some(cny(0))));
    let start: jiff::Timestamp = START.parse().unwrap();
    assert_eq!(order.pay_time.unwrap().seconds, start.as_second());
    assert_eq!((order.refunded.clone(), order.refund_progress()), (Some(cny(0)), RefundProgress::None));
    assert_eq!(order.vouchers[0].uses, 3);
    assert_eq!(fixture.voucher(&order.vouchers[0].code).await.unwrap(), order.vouchers[0]);
    assert_eq!(fixture.get(&order).await, order, "what is stored is what was answered");

    let told = fixture.until_events(3, |_| true).await;
    let [created, paid, issued] = told.as_slice() else { panic!("{told:?}") };
    assert!(matches!(kind(created), Kind::OrderCreated(e) if e.total == Some(cny(0))));
    assert!(matches!(kind(paid), Kind::OrderPaid(e) if e.payment_id.is_empty() && e.amount == Some(cny(0))));
    assert!(matches!(kind(issued), Kind::VoucherIssued(e) if e.uses == 3));

    // It waits for nothing, so it is neither given up nor expires, and no payment can be closed for it.
    let cancel =
        CancelOrderRequest { merchant_id: order.merchant_id.clone(), order_id: order.order_id.clone() };
    let refused = fixture.orders.clone().cancel_order(keyed(cancel)).await.unwrap_err();
    assert_reason(&refused, Code::FailedPrecondition, "ORDER_STATE");
    fixture.clock.advance(SignedDuration::from_hours(1));
    let waiting = fixture.order().await;
    fixture.clock.advance(SignedDuration::from_hours(1));
    fixture.until_state(&waiting, OrderState::Expired).await;
    assert_eq!(fixture.get(&order).await, order);
}

#[tokio::test]
async fn repeated_calls_for_an_order_of_total_zero_are_one() {
    for redis in [redis_url(), no_redis_url()] {
        let fixture = Fixture::with_redis(redis).await;
        let request = fixture.request(vec![voucher_line("gift", 1, cny(0))]);
        let key = new_key();
        let create = || {
            let (mut orders, request) = (fixture.orders.clone(), with_key(&key, request.clone()));
            async move { orders.create_order(request).await.unwrap().into_inner().order.unwrap() }
        };
        let orders = futures::future::join_all((0..20).map(|_| create())).await;
        assert!(orders.iter().all(|order| *order == orders[0]));
        assert_eq!(orders[0].vouchers.len(), 1);
        assert_eq!(fixture.until_events(3, |_| true).await.len(), 3);
    }
}

#[tokio::test]
async fn what_is_free_of_charge_is_ordered_with_what_is_not() {
    let fixture = Fixture::start().await;
    let lines = vec![voucher_line("gift", 2, cny(0)), line("tea", 1, cny(1_000))];
    let order = fixture.create(fixture.request(lines)).await;
    assert_eq!(order.state(), OrderState::PendingPayment);
    assert_eq!(order.lines[0].total, Some(cny(0)));
    let paid = fixture.pay(&order).await;
    assert_eq!((paid.vouchers.len(), paid.vouchers[0].uses), (1, 2));
    // Everything for nothing, but the shipping.
    let request =
        CreateOrderRequest { shipping: Some(cny(1)), ..fixture.request(vec![line("sample", 1, cny(0))]) };
    let shipped = fixture.create(request).await;
    assert_eq!((shipped.state(), shipped.price.unwrap().total), (OrderState::PendingPayment, Some(cny(1))));
}

#[tokio::test]
async fn money_that_comes_for_an_order_of_total_zero_is_unapplied_and_none_goes_back() {
    let fixture = Fixture::start().await;
    let order = fixture.create(fixture.request(vec![line("gift", 1, cny(0))])).await;
    let payment = PaymentId::new();
    fixture.payments.log.push(fixture.merchant, succeeded(&order, payment, cny(1)));
    let late = fixture.until_held(&order, payment, UnappliedPaymentState::Held).await;
    assert_eq!(late.reason(), UnappliedReason::Amount);
    let paid = tael_proto::order::v1::Order { payment_id: payment.to_string(), ..order.clone() };
    fixture.refunds.push(fixture.merchant, refunded(&paid, RefundId::new(), cny(1), &[]));
    let aside = eventually("a dead letter", async || {
        Some(fixture.dead_letters().await).filter(|errors| !errors.is_empty())
    })
    .await;
    assert!(aside[0].contains("was not paid by the payment"), "{aside:?}");
    assert_eq!(fixture.get(&order).await.refunded, Some(cny(0)));
}

#[tokio::test]
async fn vouchers_that_were_free_are_taken_back_by_a_person_once() {
    for redis in [redis_url(), no_redis_url()] {
        let fixture = Fixture::with_redis(redis).await;
        let order = fixture.create(fixture.request(vec![voucher_line("gift", 5, cny(0))])).await;
        let request = VoidVoucherRequest {
            merchant_id: fixture.merchant.to_string(),
            voucher_id: order.vouchers[0].voucher_id.clone(),
            count: 2,
            reason: "given by mistake".into(),
            operator: "Li".into(),
        };
        let key = new_key();
        let answers = futures::future::join_all((0..20).map(|_| {
            let (mut vouchers, request) = (fixture.vouchers(), with_key(&key, request.clone()));
            async move { vouchers.void_voucher(request).await.unwrap().into_inner().voucher.unwrap() }
        }))
        .await;
        assert!(answers.iter().all(|voucher| (voucher.voided, voucher.code.as_str()) == (2, "")));
        let code = &order.vouchers[0].code;
        assert_eq!(fixture.voucher(code).await.unwrap().voided, 2);
        let void = async |request: VoidVoucherRequest| {
            fixture.vouchers().void_voucher(keyed(request)).await.map(tonic::Response::into_inner)
        };
        let other = VoidVoucherRequest { count: 1, ..request.clone() };
        let reused = fixture.vouchers().void_voucher(with_key(&key, other)).await.unwrap_err();
        assert_reason(&reused, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
        let more = void(VoidVoucherRequest { count: 4, ..request.clone() }).await.unwrap_err();
        assert_reason(&more, Code::FailedPrecondition, "VOUCHER_USED_UP");
        let rest = void(VoidVoucherRequest { count: 0, ..request.clone() }).await.unwrap();
        assert_eq!(rest.voucher.unwrap().voided, 5);
        let nothing = void(VoidVoucherRequest { count: 0, ..request.clone() }).await.unwrap_err();
        assert_reason(&nothing, Code::FailedPrecondition, "VOUCHER_USED_UP");
        let foreign = VoidVoucherRequest { merchant_id: tael_ids::MerchantId::new().to_string(), ..request };
        assert_reason(&void(foreign).await.unwrap_err(), Code::NotFound, "VOUCHER_NOT_FOUND");
        let bad = VoidVoucherRequest { count: 10_000, ..VoidVoucherRequest::default() };
        assert_bad_fields(
            &void(bad).await.unwrap_err(),
            &["merchant_id", "voucher_id", "count", "reason", "operator"],
        );
    }
}
