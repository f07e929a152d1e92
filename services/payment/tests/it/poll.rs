//! The poller: what notifications do not tell is found out by asking.

use jiff::SignedDuration;
use tael_proto::payment::v1::PaymentState;
use tael_sandbox::control::{Fault, TradeRef, TradeStatus};

use crate::fixture::{Fixture, number};

#[tokio::test]
async fn a_lost_notification_is_made_up_for_by_asking() {
    let fixture = Fixture::start().await;
    fixture.lose_notifications().await;
    let payment = fixture.create().await;
    let trade = fixture.pay(&payment).await;
    assert_eq!(fixture.get(&payment).await.state(), PaymentState::Pending);
    fixture.advance(SignedDuration::from_secs(1));
    let paid = fixture.eventually(&payment, PaymentState::Succeeded).await;
    assert_eq!(Some(paid.attempts[0].channel_transaction_id.clone()), trade.trade_no);
    assert_eq!(paid.pay_time.unwrap().seconds, trade.paid_at.unwrap().as_second());
    assert_eq!(fixture.said(2).await, ["payment.created", "payment.succeeded"]);
}

#[tokio::test]
async fn replicas_share_the_work() {
    let fixture = Fixture::start().await;
    fixture.lose_notifications().await;
    let _replicas = (fixture.replica().await, fixture.replica().await);
    let mut payments = Vec::new();
    for _ in 0..20 {
        let payment = fixture.create().await;
        fixture.pay(&payment).await;
        payments.push(payment);
    }
    fixture.advance(SignedDuration::from_secs(1));
    for payment in &payments {
        fixture.eventually(payment, PaymentState::Succeeded).await;
    }
    assert_eq!(fixture.said(40).await.len(), 40);
}

/// An unclear answer to a question changes nothing but the doubt, and the question is asked again.
#[tokio::test]
async fn an_unclear_answer_is_asked_for_again() {
    let fixture = Fixture::start().await;
    fixture.lose_notifications().await;
    let payment = fixture.create().await;
    fixture.pay(&payment).await;
    fixture.fault("alipay.trade.query", 1, Fault::BadAnswerSignature).await;
    fixture.advance(SignedDuration::from_secs(1));
    tael_testkit::eventually("the doubt", || async {
        fixture.get(&payment).await.attempts[0].in_doubt.then_some(())
    })
    .await;
    assert_eq!(fixture.get(&payment).await.state(), PaymentState::Pending);
    fixture.advance(SignedDuration::from_secs(2));
    fixture.eventually(&payment, PaymentState::Succeeded).await;
}

#[tokio::test]
async fn an_expired_payment_is_closed_at_the_channel() {
    let fixture = Fixture::start().await;
    let unscanned = fixture.create().await;
    let scanned = fixture.create().await;
    fixture.sandbox.scan(fixture.reference(&scanned)).await.unwrap();
    fixture.fault("alipay.trade.precreate", 1, Fault::DropRequest).await;
    let never_known = fixture.create().await;
    fixture.advance(SignedDuration::from_mins(31));
    for payment in [&unscanned, &scanned, &never_known] {
        fixture.eventually(payment, PaymentState::Closed).await;
    }
    assert_eq!(fixture.trade(&unscanned).await.status, TradeStatus::Withdrawn);
    assert_eq!(fixture.trade(&scanned).await.status, TradeStatus::Closed);
    assert!(fixture.sandbox.trade(&fixture.app.app_id, &number(&never_known)).await.is_err());
    let order = TradeRef::number(&fixture.app.app_id, number(&unscanned));
    assert!(fixture.sandbox.pay(order).await.is_err(), "a closed payment can't be paid");
}

#[tokio::test]
async fn an_expired_payment_that_was_paid_has_succeeded() {
    let fixture = Fixture::start().await;
    fixture.lose_notifications().await;
    let payment = fixture.create().await;
    fixture.pay(&payment).await;
    fixture.advance(SignedDuration::from_mins(31));
    fixture.eventually(&payment, PaymentState::Succeeded).await;
}
