//! Peers that are away for a moment, or for longer.

use std::time::Duration;

use tael_proto::refund::v1::RefundState;
use tael_testkit::keyed;
use tokio::time::Instant;
use tonic::Status;

use crate::fixture::{Fixture, amount, full};
use crate::peers::Answer;

#[tokio::test]
async fn a_caller_does_not_notice_that_a_peer_restarts() {
    let (fixture, mut links) = Fixture::over_links().await;
    let order = fixture.paid_order();
    fixture.create(&order, amount(1_000)).await.unwrap();
    for link in &mut links {
        link.cut().await;
        let back = async {
            tokio::time::sleep(Duration::from_millis(150)).await;
            link.restore().await;
        };
        let (refund, ()) = tokio::join!(fixture.create(&order, amount(1_000)), back);
        assert_eq!(refund.unwrap().state(), RefundState::Succeeded);
    }
    assert_eq!(fixture.sums().await, (0, 3_000));
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_at_once_under_the_same_id() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    fixture.payments.next(Answer::Error(Status::unavailable("the connection was lost")));
    let refund = fixture.create(&order, full()).await.unwrap();
    assert_eq!(refund.state(), RefundState::Succeeded);
    let calls = fixture.payments.calls();
    assert_eq!((calls.len(), &calls[0]), (2, &calls[1]));
    assert_eq!(calls[0].refund_id, refund.refund_id);
}

/// Nothing is lost by that: the refund is tried again later.
#[tokio::test]
async fn while_the_payment_service_is_away_the_caller_is_answered_before_its_deadline() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    fixture.payments.usually(Answer::Error(Status::unavailable("gone")));
    let mut request = keyed(fixture.request(&order, full()));
    request.set_timeout(Duration::from_secs(1));
    let began = Instant::now();
    let refund = fixture.refunds.clone().create_refund(request).await.unwrap().into_inner().refund.unwrap();
    assert_eq!(refund.state(), RefundState::Processing);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(fixture.payments.calls().len() > 1);
}
