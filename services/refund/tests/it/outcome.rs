//! How refunds end: by the call's answer, by the payment log, by trying again.

use std::sync::Arc;

use futures::future::join_all;
use jiff::SignedDuration;
use tael_proto::event::v1::payload::Kind;
use tael_proto::refund::v1::{ApproveRefundRequest, ListRefundsRequest, Refund, RefundState};
use tael_testkit::{eventually, keyed, new_key, with_key};
use tokio::sync::Notify;
use tonic::{Code, Status};

use crate::fixture::{Fixture, amount, full, minor, units};
use crate::peers::Answer;

async fn becomes(fixture: &Fixture, refund: &Refund, state: RefundState) -> Refund {
    eventually("the refund to move", || async {
        let now = fixture.get(refund).await;
        (now.state() == state).then_some(now)
    })
    .await
}

#[tokio::test]
async fn a_refusal_by_the_channel_gives_the_amount_back() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    fixture.payments.next(Answer::Failed("CHANNEL_CONFIGURATION"));
    let refund = fixture.create(&order, units(&order, 0, 3)).await.unwrap();
    assert_eq!(
        (refund.state(), refund.failure_reason.as_str()),
        (RefundState::Failed, "CHANNEL_CONFIGURATION")
    );
    assert!(refund.end_time.is_some());
    assert_eq!(fixture.sums().await, (0, 0));
    assert_eq!(fixture.said().await, ["refund.created", "refund.failed"]);
    let again = fixture.create(&order, units(&order, 0, 3)).await.unwrap();
    assert_eq!((again.state(), minor(&again)), (RefundState::Succeeded, 10_000));
}

#[tokio::test]
async fn a_refusal_by_the_payment_service_is_final() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    let status = tael_grpc::status::error(
        Code::FailedPrecondition,
        "tael.payment",
        tael_proto::payment::v1::ErrorReason::RefundExceedsPayment.as_str_name(),
        "too much",
        [],
    );
    fixture.payments.next(Answer::Error(status));
    let refund = fixture.create(&order, full()).await.unwrap();
    assert_eq!(
        (refund.state(), refund.failure_reason.as_str()),
        (RefundState::Failed, "REFUND_EXCEEDS_PAYMENT")
    );
    assert_eq!(fixture.sums().await, (0, 0));
}

#[tokio::test]
async fn units_given_back_are_worth_the_line_again() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    // The first unit (33.33) fails after the second (33.34) was taken.
    fixture.payments.next(Answer::Pending);
    let first = fixture.create(&order, units(&order, 0, 1)).await.unwrap();
    let second = fixture.create(&order, units(&order, 0, 1)).await.unwrap();
    fixture.payments.log.refund_failed(&first, "DECLINED");
    becomes(&fixture, &first, RefundState::Failed).await;
    let rest = fixture.create(&order, units(&order, 0, 2)).await.unwrap();
    assert_eq!(minor(&second) + minor(&rest), 10_000);
}

#[tokio::test]
async fn no_answer_is_no_failure() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    for unclear in
        [Answer::Pending, Answer::Error(Status::unknown("gone")), Answer::Error(Status::internal("?"))]
    {
        fixture.payments.next(unclear);
        let refund = fixture.create(&order, amount(1_000)).await.unwrap();
        assert_eq!((refund.state(), &refund.end_time), (RefundState::Processing, &None));
    }
    assert_eq!(fixture.sums().await, (3_000, 0));
    assert_eq!(fixture.said().await, ["refund.created"; 3]);
}

/// While a refund is processing its answer is not recorded, neither that of its creation nor of its approval.
#[tokio::test]
async fn a_repeated_call_hears_how_an_unclear_refund_ended() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    let (key, request) = (new_key(), fixture.request(&order, amount(1_000)));
    let create = async || {
        let request = with_key(&key, request.clone());
        fixture.refunds.clone().create_refund(request).await.unwrap().into_inner().refund.unwrap()
    };
    fixture.payments.next(Answer::Pending);
    let refund = create().await;
    assert_eq!(refund.state(), RefundState::Processing);
    fixture.payments.log.refund_failed(&refund, "DECLINED");
    let failed = becomes(&fixture, &refund, RefundState::Failed).await;
    assert_eq!(create().await, failed);

    fixture.limit(0).await;
    let refund = fixture.create(&order, full()).await.unwrap();
    let (key, request) = (
        new_key(),
        ApproveRefundRequest {
            merchant_id: refund.merchant_id.clone(),
            refund_id: refund.refund_id.clone(),
            operator: "mei".to_owned(),
        },
    );
    let approve = async || {
        let request = with_key(&key, request.clone());
        fixture.refunds.clone().approve_refund(request).await.unwrap().into_inner().refund.unwrap()
    };
    fixture.payments.next(Answer::Pending);
    assert_eq!(approve().await.state(), RefundState::Processing);
    fixture.payments.log.refund_failed(&refund, "DECLINED");
    let failed = becomes(&fixture, &refund, RefundState::Failed).await;
    assert_eq!(approve().await, failed);
    assert_eq!(fixture.payments.calls().len(), 2);
}

#[tokio::test]
async fn unclear_refunds_are_tried_again_under_the_same_id() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    fixture.payments.usually(Answer::Error(Status::internal("?")));
    let refund = fixture.create(&order, full()).await.unwrap();
    assert_eq!(refund.state(), RefundState::Processing);
    // Each pause is twice the one before, so 2 s are enough for one more try only.
    for tries in 2..4 {
        fixture.clock.advance(SignedDuration::from_secs(1 << (tries - 1)));
        eventually("the next try", || async { (fixture.payments.calls().len() == tries).then_some(()) })
            .await;
    }
    fixture.payments.usually(Answer::Succeeded);
    fixture.clock.advance(SignedDuration::from_secs(8));
    let ended = becomes(&fixture, &refund, RefundState::Succeeded).await;
    let calls = fixture.payments.calls();
    assert!(calls.iter().all(|call| *call == calls[0]), "a repetition says the same");
    assert_eq!(calls[0].refund_id, ended.refund_id);
    assert_eq!(fixture.said().await, ["refund.created", "refund.succeeded"]);
}

#[tokio::test]
async fn replicas_try_a_refund_once_each_time() {
    let fixture = Fixture::start().await;
    let replicas = [fixture.replica().await, fixture.replica().await];
    let order = fixture.paid_order();
    fixture.payments.usually(Answer::Pending);
    let refunds = join_all((0..16).map(|_| fixture.create(&order, amount(1_000)))).await;
    assert_eq!(fixture.payments.calls().len(), 16);
    fixture.payments.usually(Answer::Succeeded);
    fixture.clock.advance(SignedDuration::from_secs(2));
    for refund in &refunds {
        becomes(&fixture, refund.as_ref().unwrap(), RefundState::Succeeded).await;
    }
    assert_eq!(fixture.payments.calls().len(), 32);
    assert_eq!(fixture.sums().await, (0, 16_000));
    for replica in replicas {
        replica.stop().await;
    }
}

#[tokio::test]
async fn a_refund_survives_a_crash_during_its_call() {
    let mut fixture = Fixture::start().await;
    let order = fixture.paid_order();
    fixture.payments.next(Answer::Gated(Arc::new(Notify::new()), Box::new(Answer::Succeeded))); // never opened
    let call = {
        let (mut refunds, request) = (fixture.refunds.clone(), keyed(fixture.request(&order, full())));
        tokio::spawn(async move { refunds.create_refund(request).await })
    };
    eventually("the payment service to be asked", || async { fixture.payments.calls().first().map(|_| ()) })
        .await;
    fixture.crash().await;
    call.abort();

    let list = ListRefundsRequest { merchant_id: fixture.merchant_id.to_string(), ..Default::default() };
    let refund = fixture.refunds.list_refunds(list).await.unwrap().into_inner().refunds.remove(0);
    assert_eq!(refund.state(), RefundState::Processing);
    // The crashed service's lease must pass first.
    fixture.clock.advance(SignedDuration::from_secs(61));
    becomes(&fixture, &refund, RefundState::Succeeded).await;
    let calls = fixture.payments.calls();
    assert_eq!((calls.len(), &calls[0]), (2, &calls[1]));
    assert_eq!(fixture.sums().await, (0, 16_800));
}

#[tokio::test]
async fn the_log_ends_what_the_call_left_open() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    fixture.payments.usually(Answer::Pending);
    let good = fixture.create(&order, units(&order, 1, 1)).await.unwrap();
    let bad = fixture.create(&order, amount(2_000)).await.unwrap();
    fixture.payments.log.noise();
    fixture.payments.log.refunded(&good);
    fixture.payments.log.refund_failed(&bad, "DECLINED");
    let good = becomes(&fixture, &good, RefundState::Succeeded).await;
    let bad = becomes(&fixture, &bad, RefundState::Failed).await;
    assert_eq!(bad.failure_reason, "DECLINED");
    assert_eq!(fixture.sums().await, (0, 3_000));

    let events = fixture.events(4).await;
    assert_eq!(events.len(), 4);
    for event in &events[2..] {
        match event.payload.as_ref().unwrap().kind.as_ref().unwrap() {
            Kind::RefundSucceeded(event) => {
                assert_eq!((&event.refund_id, &event.order_id), (&good.refund_id, &order.order_id));
                assert_eq!((event.lines.len(), event.lines[0].quantity), (1, 1));
                assert_eq!((&event.lines[0].amount, event.reason.as_str()), (&good.amount, "wrong size"));
            }
            Kind::RefundFailed(event) => {
                assert_eq!((&event.refund_id, event.reason.as_str()), (&bad.refund_id, "DECLINED"));
            }
            other => panic!("unexpected {other:?}"),
        }
    }
}

#[tokio::test]
async fn the_same_end_learnt_twice_counts_once() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    let refund = fixture.create(&order, amount(1_000)).await.unwrap();
    assert_eq!(refund.state(), RefundState::Succeeded);
    fixture.payments.log.refunded(&refund);
    fixture.payments.log.refunded(&refund);
    fixture.payments.log.consumed().await;
    assert_eq!(fixture.get(&refund).await, refund);
    assert_eq!(fixture.said().await, ["refund.created", "refund.succeeded"]);
    assert_eq!(fixture.sums().await, (0, 1_000));
}

#[tokio::test]
async fn a_contradiction_changes_nothing() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    let refund = fixture.create(&order, amount(1_000)).await.unwrap();
    fixture.payments.log.refund_failed(&refund, "DECLINED");
    fixture.payments.log.consumed().await;
    assert_eq!(fixture.get(&refund).await, refund);
    assert_eq!(fixture.sums().await, (0, 1_000));
}

#[tokio::test]
async fn an_event_that_cannot_be_read_blocks_nothing() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    fixture.payments.usually(Answer::Pending);
    let refund = fixture.create(&order, amount(1_000)).await.unwrap();
    let mut broken = refund.clone();
    broken.refund_id = "ref_broken".to_owned();
    fixture.payments.log.refunded(&broken);
    fixture.payments.log.refunded(&refund);
    becomes(&fixture, &refund, RefundState::Succeeded).await;
    assert_eq!(fixture.count("event_set_aside").await, 1);
}
