use std::collections::BTreeSet;

use tael_ids::{MerchantId, OrderId, PaymentId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::order::v1::{CancelOrderRequest, Order, OrderState};
use tael_proto::payment::v1::PaymentState;
use tael_testkit::keyed;
use tonic::{Code, Status};

use crate::fixture::{Fixture, assert_bad_fields, assert_reason, kind, succeeded, total};
use crate::peers::OnClose;

async fn cancel(fixture: &Fixture, order: &Order) -> Result<Order, Status> {
    let request =
        CancelOrderRequest { merchant_id: order.merchant_id.clone(), order_id: order.order_id.clone() };
    Ok(fixture.orders.clone().cancel_order(keyed(request)).await?.into_inner().order.unwrap())
}

#[tokio::test]
async fn an_order_without_a_payment_is_cancelled() {
    let fixture = Fixture::start().await;
    let order = fixture.order().await;
    let cancelled = cancel(&fixture, &order).await.unwrap();
    assert_eq!(cancelled.state(), OrderState::Cancelled);
    assert_eq!(fixture.get(&order).await, cancelled);
    assert_eq!(cancel(&fixture, &order).await.unwrap(), cancelled, "again changes nothing");
    let events = fixture.until_events(1, |k| matches!(k, Kind::OrderCancelled(_))).await;
    let [event] = events.as_slice() else { panic!("one event") };
    let Kind::OrderCancelled(told) = kind(event) else { panic!("filtered") };
    assert_eq!(told.order_id, order.order_id);
}

#[tokio::test]
async fn the_payment_is_closed_first() {
    let fixture = Fixture::start().await;
    let order = fixture.order().await;
    fixture.payments.add(&order.order_id, PaymentState::Closed);
    fixture.payments.add(&order.order_id, PaymentState::Failed);
    let active = fixture.payments.add(&order.order_id, PaymentState::Pending);
    let other = fixture.order().await;
    fixture.payments.add(&other.order_id, PaymentState::Pending);

    assert_eq!(cancel(&fixture, &order).await.unwrap().state(), OrderState::Cancelled);
    let closed: Vec<String> = fixture.payments.closed().into_iter().map(|(id, _)| id).collect();
    assert_eq!(closed, [active.to_string()]);
}

#[tokio::test]
async fn when_the_payer_was_faster_the_order_stays() {
    let fixture = Fixture::start().await;
    for (known, on_close) in [
        (PaymentState::Succeeded, None),
        (PaymentState::Pending, Some(OnClose::Becomes(PaymentState::Succeeded))),
    ] {
        let order = fixture.order().await;
        fixture.payments.add(&order.order_id, known);
        if let Some(answer) = on_close {
            fixture.payments.on_next_close(answer);
        }
        let status = cancel(&fixture, &order).await.unwrap_err();
        assert_reason(&status, Code::FailedPrecondition, "ORDER_STATE");
        assert_eq!(fixture.get(&order).await.state(), OrderState::PendingPayment);
        fixture.pay(&order).await;
    }
}

#[tokio::test]
async fn while_the_payment_is_in_doubt_the_order_stays_and_the_next_try_asks_anew() {
    let fixture = Fixture::start().await;
    let order = fixture.order().await;
    fixture.payments.add(&order.order_id, PaymentState::Created);
    for doubtful in [PaymentState::Pending, PaymentState::Created] {
        fixture.payments.on_next_close(OnClose::Becomes(doubtful));
        let status = cancel(&fixture, &order).await.unwrap_err();
        assert_reason(&status, Code::Aborted, "PAYMENT_IN_DOUBT");
        assert_eq!(fixture.get(&order).await.state(), OrderState::PendingPayment);
    }
    assert_eq!(cancel(&fixture, &order).await.unwrap().state(), OrderState::Cancelled);
    let keys: BTreeSet<String> = fixture.payments.closed().into_iter().map(|(_, key)| key).collect();
    assert_eq!(keys.len(), 3);
}

#[tokio::test]
async fn when_the_payment_service_fails_the_order_stays() {
    let fixture = Fixture::start().await;
    let order = fixture.order().await;
    fixture.payments.add(&order.order_id, PaymentState::Pending);
    fixture.payments.on_next_close(OnClose::Fails);
    let status = cancel(&fixture, &order).await.unwrap_err();
    assert_reason(&status, Code::Unavailable, "DEPENDENCY_UNAVAILABLE");
    assert!(!status.message().contains("as the test wants it"), "the cause is for the log");
    assert_eq!(fixture.get(&order).await.state(), OrderState::PendingPayment);
}

#[tokio::test]
async fn paid_and_expired_orders_are_not_cancelled() {
    let fixture = Fixture::start().await;
    let paid = fixture.order().await;
    fixture.payments.log.push(fixture.merchant, succeeded(&paid, PaymentId::new(), total(&paid)));
    fixture.until_state(&paid, OrderState::Paid).await;
    let expired = fixture.order().await;
    fixture.clock.advance(jiff::SignedDuration::from_hours(1));
    fixture.until_state(&expired, OrderState::Expired).await;
    for order in [paid, expired] {
        let status = cancel(&fixture, &order).await.unwrap_err();
        assert_reason(&status, Code::FailedPrecondition, "ORDER_STATE");
    }
    assert_eq!(fixture.payments.closed(), []);
}

#[tokio::test]
async fn unknown_orders_those_of_others_and_malformed_ids() {
    let fixture = Fixture::start().await;
    let order = fixture.order().await;
    let unknown = Order { order_id: OrderId::new().to_string(), ..order.clone() };
    let foreign = Order { merchant_id: MerchantId::new().to_string(), ..order.clone() };
    for order in [unknown, foreign] {
        assert_reason(&cancel(&fixture, &order).await.unwrap_err(), Code::NotFound, "ORDER_NOT_FOUND");
    }
    assert_bad_fields(&cancel(&fixture, &Order::default()).await.unwrap_err(), &["merchant_id", "order_id"]);
}
