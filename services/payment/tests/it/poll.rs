//! The poller: what notifications do not tell is found out by asking.

use jiff::SignedDuration;
use tael_proto::payment::v1::PaymentState;
use tael_sandbox::control::{Fault, TradeRef, TradeStatus};

use crate::world::{World, number};

#[tokio::test]
async fn a_lost_notification_is_made_up_for_by_asking() {
    let world = World::start().await;
    world.lose_notifications().await;
    let payment = world.create().await;
    let trade = world.pay(&payment).await;
    assert_eq!(world.get(&payment).await.state(), PaymentState::Pending);
    world.advance(SignedDuration::from_secs(1));
    let paid = world.eventually(&payment, PaymentState::Succeeded).await;
    assert_eq!(Some(paid.attempts[0].channel_transaction_id.clone()), trade.trade_no);
    assert_eq!(paid.pay_time.unwrap().seconds, trade.paid_at.unwrap().as_second());
    assert_eq!(world.said(2).await, ["payment.created", "payment.succeeded"]);
}

#[tokio::test]
async fn replicas_share_the_work() {
    let world = World::start().await;
    world.lose_notifications().await;
    let _replicas = (world.replica().await, world.replica().await);
    let mut payments = Vec::new();
    for _ in 0..20 {
        let payment = world.create().await;
        world.pay(&payment).await;
        payments.push(payment);
    }
    world.advance(SignedDuration::from_secs(1));
    for payment in &payments {
        world.eventually(payment, PaymentState::Succeeded).await;
    }
    assert_eq!(world.said(40).await.len(), 40);
}

/// An unclear answer to a question changes nothing but the doubt, and the question is asked again.
#[tokio::test]
async fn an_unclear_answer_is_asked_for_again() {
    let world = World::start().await;
    world.lose_notifications().await;
    let payment = world.create().await;
    world.pay(&payment).await;
    world.fault("alipay.trade.query", 1, Fault::BadAnswerSignature).await;
    world.advance(SignedDuration::from_secs(1));
    tael_testkit::eventually("the doubt", || async {
        world.get(&payment).await.attempts[0].in_doubt.then_some(())
    })
    .await;
    assert_eq!(world.get(&payment).await.state(), PaymentState::Pending);
    world.advance(SignedDuration::from_secs(2));
    world.eventually(&payment, PaymentState::Succeeded).await;
}

#[tokio::test]
async fn an_expired_payment_is_closed_at_the_channel() {
    let world = World::start().await;
    let unscanned = world.create().await;
    let scanned = world.create().await;
    world.sandbox.scan(world.reference(&scanned)).await.unwrap();
    world.fault("alipay.trade.precreate", 1, Fault::DropRequest).await;
    let never_known = world.create().await;
    world.advance(SignedDuration::from_mins(31));
    for payment in [&unscanned, &scanned, &never_known] {
        world.eventually(payment, PaymentState::Closed).await;
    }
    assert_eq!(world.trade(&unscanned).await.status, TradeStatus::Withdrawn);
    assert_eq!(world.trade(&scanned).await.status, TradeStatus::Closed);
    assert!(world.sandbox.trade(&world.app.app_id, &number(&never_known)).await.is_err());
    let order = TradeRef::number(&world.app.app_id, number(&unscanned));
    assert!(world.sandbox.pay(order).await.is_err(), "a closed payment can't be paid");
}

#[tokio::test]
async fn an_expired_payment_that_was_paid_has_succeeded() {
    let world = World::start().await;
    world.lose_notifications().await;
    let payment = world.create().await;
    world.pay(&payment).await;
    world.advance(SignedDuration::from_mins(31));
    world.eventually(&payment, PaymentState::Succeeded).await;
}
