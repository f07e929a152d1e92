use jiff::SignedDuration;
use tael_proto::event::v1::payload::Kind;
use tael_proto::order::v1::OrderState;
use tael_proto::payment::v1::PaymentState;
use tael_testkit::eventually;

use crate::fixture::{Fixture, kind};
use crate::peers::OnClose;

#[tokio::test]
async fn an_order_expires_when_its_time_is_up_and_not_before() {
    let fixture = Fixture::start().await;
    let early = fixture.order().await;
    fixture.clock.advance(SignedDuration::from_mins(1));
    let late = fixture.order().await;
    fixture.clock.advance(SignedDuration::from_mins(29));
    fixture.until_state(&early, OrderState::Expired).await;
    assert_eq!(fixture.get(&late).await.state(), OrderState::PendingPayment);
    fixture.clock.advance(SignedDuration::from_mins(1));
    fixture.until_state(&late, OrderState::Expired).await;
    let events = fixture.until_events(2, |k| matches!(k, Kind::OrderExpired(_))).await;
    let told: Vec<&str> = events
        .iter()
        .map(|event| match kind(event) {
            Kind::OrderExpired(expired) => expired.order_id.as_str(),
            _ => unreachable!("filtered"),
        })
        .collect();
    assert_eq!(told, [early.order_id.as_str(), late.order_id.as_str()]);
}

#[tokio::test]
async fn the_payment_is_closed_first_and_doubt_or_failure_put_the_expiry_off() {
    let fixture = Fixture::start().await;
    let order = fixture.order().await;
    fixture.payments.add(&order.order_id, PaymentState::Pending);
    fixture.payments.on_next_close(OnClose::Becomes(PaymentState::Pending));
    fixture.payments.on_next_close(OnClose::Fails);
    fixture.clock.advance(SignedDuration::from_mins(30));
    for tries in 1..=2 {
        eventually("the payment to be closed", async || {
            (fixture.payments.closed().len() == tries).then_some(())
        })
        .await;
        assert_eq!(fixture.get(&order).await.state(), OrderState::PendingPayment);
        // Not tried again before the lease ends: the clock stands still.
        fixture.clock.advance(SignedDuration::from_secs(60));
    }
    fixture.until_state(&order, OrderState::Expired).await;
    assert_eq!(fixture.payments.closed().len(), 3);
}

#[tokio::test]
async fn a_close_whose_answer_is_lost_is_repeated_at_once_under_the_same_key() {
    let fixture = Fixture::start().await;
    let order = fixture.order().await;
    fixture.payments.add(&order.order_id, PaymentState::Pending);
    fixture.payments.on_next_close(OnClose::LosesAnswer);
    fixture.clock.advance(SignedDuration::from_mins(30));
    fixture.until_state(&order, OrderState::Expired).await;
    let closed = fixture.payments.closed();
    assert_eq!((closed.len(), &closed[0]), (2, &closed[1]));
}

/// Nobody tells the worker that its connection is dead.
#[tokio::test]
async fn a_database_that_falls_silent_does_not_stop_the_expiry() {
    let (fixture, link) = Fixture::over_a_link().await;
    let order = fixture.order().await;
    link.freeze();
    fixture.clock.advance(SignedDuration::from_mins(30));
    let direct = fixture.database.pool();
    eventually("the order to expire", async || {
        let expired = "select count(*) from orders where state = 'expired'";
        let expired: i64 = sqlx::query_scalar(expired).fetch_one(&direct).await.unwrap();
        (expired == 1).then_some(())
    })
    .await;
    fixture.until_state(&order, OrderState::Expired).await;
}

#[tokio::test]
async fn an_order_whose_payer_was_faster_does_not_expire() {
    let fixture = Fixture::start().await;
    let order = fixture.order().await;
    fixture.payments.add(&order.order_id, PaymentState::Pending);
    fixture.payments.on_next_close(OnClose::Becomes(PaymentState::Succeeded));
    let unpaid = fixture.order().await;
    fixture.clock.advance(SignedDuration::from_hours(1));
    fixture.until_state(&unpaid, OrderState::Expired).await;
    assert_eq!(fixture.get(&order).await.state(), OrderState::PendingPayment);
    fixture.pay(&order).await;
}

#[tokio::test]
async fn more_orders_than_a_batch_expire_together() {
    let fixture = Fixture::start().await;
    let mut orders = Vec::new();
    for _ in 0..130 {
        orders.push(fixture.order().await);
    }
    fixture.clock.advance(SignedDuration::from_hours(1));
    for order in &orders {
        fixture.until_state(order, OrderState::Expired).await;
    }
    assert_eq!(fixture.until_events(130, |k| matches!(k, Kind::OrderExpired(_))).await.len(), 130);
}
