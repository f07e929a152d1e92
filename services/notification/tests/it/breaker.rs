//! Endpoints that fail, ask for less, or are gone.

use tael_proto::notification::v1::{DeliveryState, DisableReason, WebhookEndpointState};
use tael_testkit::eventually;

use crate::fixture::{Fixture, order_paid};
use crate::receiver::{Answer, Receiver};

/// Tells another merchant of something: all that was due before has begun by then.
async fn all_due_has_begun(fixture: &Fixture) {
    let other = Receiver::start().await;
    let merchant_id = fixture.endpoint_of_another(&other).await;
    fixture.order_log.append(merchant_id, order_paid());
    eventually("the other merchant to be told", || async { (other.told().len() == 1).then_some(()) }).await;
}

#[tokio::test]
async fn a_failing_endpoint_is_paused_and_tried_with_one_delivery() {
    let fixture = Fixture::start().await;
    let receiver = Receiver::start().await;
    let (endpoint_id, _) = fixture.endpoint(&receiver, &[]).await;
    receiver.usually(Answer::Status(500));
    for _ in 0..60 {
        fixture.order_paid();
    }
    let paused = fixture.endpoint_in(WebhookEndpointState::Paused).await;
    let pause = paused.pause_end_time.unwrap().seconds - fixture.clock.now().as_second();
    assert_eq!((pause, paused.disable_time), (30, None));
    all_due_has_begun(&fixture).await;
    let before = receiver.told().len();
    assert!((5..60).contains(&before), "{before} requests before it was paused");
    let deliveries = fixture.deliveries().await;
    let waits = |d: &&tael_proto::notification::v1::Delivery| d.attempts.is_empty();
    let waiting = deliveries.iter().find(waits).unwrap();
    assert_eq!(waiting.next_attempt_time, paused.pause_end_time, "its delivery waits as long");

    // On trial: one request, and the pause is longer.
    fixture.advance_secs(31);
    eventually("one more request", || async { (receiver.told().len() > before).then_some(()) }).await;
    eventually("a longer pause", || async {
        let endpoint = fixture.endpoints().await.remove(0);
        let pause = endpoint.pause_end_time.unwrap().seconds - fixture.clock.now().as_second();
        (pause == 60).then_some(())
    })
    .await;
    all_due_has_begun(&fixture).await;
    assert_eq!(receiver.told().len(), before + 1);

    // It answers again, and is told everything.
    receiver.usually(Answer::Status(204));
    fixture.advance_secs(400);
    fixture.all_in(DeliveryState::Succeeded, 50).await; // a page of them
    let endpoint = fixture.endpoint_in(WebhookEndpointState::Active).await;
    assert_eq!((endpoint.webhook_endpoint_id, endpoint.failure_count), (endpoint_id, 0));
}

#[tokio::test]
async fn a_success_forgets_earlier_failures() {
    let fixture = Fixture::start().await;
    let receiver = Receiver::start().await;
    fixture.endpoint(&receiver, &[]).await;
    // Four of five, twice.
    for failures in [1, 2, 3, 4, 0, 1, 2, 3, 4, 0] {
        receiver.usually(Answer::Status(if failures == 0 { 204 } else { 500 }));
        fixture.order_paid();
        eventually("the count of failures", || async {
            let endpoint = fixture.endpoints().await.remove(0);
            assert_eq!(endpoint.state(), WebhookEndpointState::Active);
            let tried = fixture.deliveries().await.iter().all(|d| !d.attempts.is_empty());
            (tried && endpoint.failure_count == failures).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_overloaded_endpoint_is_left_alone_for_as_long_as_it_asks() {
    for (answer, pause_secs, delivery_secs) in [
        (Answer::RetryAfter(429, "120"), 120, 120),
        (Answer::RetryAfter(503, "45"), 45, 45),
        (Answer::RetryAfter(429, "999999"), 3_600, 3_600), // bounded
        (Answer::Status(429), 30, 30),
        (Answer::Status(502), 30, 30),
        (Answer::Status(504), 30, 30),
    ] {
        let fixture = Fixture::start().await;
        let receiver = Receiver::start().await;
        fixture.endpoint(&receiver, &[]).await;
        receiver.next([answer]);
        fixture.order_paid();
        let delivery = fixture.tried(1).await;
        let now = fixture.clock.now().as_second();
        let endpoint = fixture.endpoint_in(WebhookEndpointState::Paused).await;
        assert_eq!(endpoint.pause_end_time.unwrap().seconds - now, pause_secs, "{answer:?}");
        assert_eq!(delivery.next_attempt_time.unwrap().seconds - now, delivery_secs, "{answer:?}");
        // One pause is over, and it answers.
        fixture.advance_secs(pause_secs + 1);
        fixture.all_in(DeliveryState::Succeeded, 1).await;
        fixture.endpoint_in(WebhookEndpointState::Active).await;
        fixture.running.stop().await;
    }
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_disabled_until_it_is_enabled() {
    let fixture = Fixture::start().await;
    let receiver = Receiver::start().await;
    let (endpoint_id, _) = fixture.endpoint(&receiver, &[]).await;
    receiver.next([Answer::Status(410)]);
    fixture.order_paid();
    let disabled = fixture.endpoint_in(WebhookEndpointState::Disabled).await;
    assert_eq!(disabled.disable_reason(), DisableReason::Gone);
    assert_eq!(disabled.disable_time.unwrap().seconds, fixture.clock.now().as_second());
    let delivery = fixture.tried(1).await;
    assert_eq!((delivery.state(), delivery.attempts[0].status), (DeliveryState::Pending, 410));
    assert_eq!(delivery.next_attempt_time, None);

    // Nothing more is sent to it, and nothing made for it.
    fixture.order_paid();
    fixture.order_log.consumed().await;
    fixture.advance_secs(30 * 3_600);
    all_due_has_begun(&fixture).await;
    assert_eq!((receiver.told().len(), fixture.deliveries().await.len()), (1, 1));

    let enabled = fixture.enable(&endpoint_id).await;
    assert_eq!(
        (enabled.state(), enabled.disable_reason()),
        (WebhookEndpointState::Active, DisableReason::Unspecified)
    );
    assert_eq!(fixture.enable(&endpoint_id).await, enabled);
    fixture.all_in(DeliveryState::Succeeded, 1).await;
}

#[tokio::test]
async fn the_merchant_s_other_endpoints_are_told_that_one_was_disabled() {
    let fixture = Fixture::start().await;
    let (gone, watching, other) = (Receiver::start().await, Receiver::start().await, Receiver::start().await);
    gone.usually(Answer::Status(410));
    let (gone_id, _) = fixture.endpoint(&gone, &["order.paid"]).await;
    let (_, secret) = fixture.endpoint(&watching, &["webhook_endpoint.disabled"]).await;
    fixture.endpoint(&other, &["payment.succeeded"]).await;
    fixture.order_paid();
    let told = eventually("the other endpoint to be told", || async { watching.told().pop() }).await;
    assert!(told.is_signed_with(&secret));
    assert_eq!(
        told.body,
        format!(
            concat!(
                r#"{{"type":"webhook_endpoint.disabled","timestamp":"2026-03-01T08:00:01Z","merchant_id":"{}","#,
                r#""aggregate_id":"{}","data":{{"reason":"gone","webhook_endpoint_id":"{}"}}}}"#
            ),
            fixture.merchant_id, gone_id, gone_id
        )
    );
    assert_eq!((gone.told().len(), other.told().len()), (1, 0));
}

/// A COMMIT was made and its answer lost: the same results are recorded again.
#[tokio::test]
async fn a_try_is_recorded_once_though_the_answer_to_its_commit_was_lost() {
    for answer in [Answer::Status(204), Answer::Status(500)] {
        let (fixture, link) = Fixture::over_a_link().await;
        let receiver = Receiver::start().await;
        fixture.endpoint(&receiver, &[]).await;
        receiver.usually(answer);
        let other = Receiver::start().await;
        let other_merchant = fixture.endpoint_of_another(&other).await;
        let mut holder = fixture.hold_up_commits_of_tries().await;
        fixture.order_paid();
        fixture.commit_is_held_up().await;
        // The COMMIT is at the server and goes on; its answer finds nobody.
        link.freeze();
        sqlx::query("select pg_advisory_unlock(42)").execute(&mut *holder).await.unwrap();
        // The worker goes on when it could record.
        fixture.order_log.append(other_merchant, order_paid());
        eventually("the other merchant to be told", || async { (other.told().len() == 1).then_some(()) })
            .await;
        let (attempts, failures) = fixture.recorded().await;
        assert_eq!((attempts, receiver.told().len()), (1, 1), "{answer:?}");
        assert_eq!(failures, i32::from(matches!(answer, Answer::Status(500))));
        fixture.running.kill();
    }
}
