//! From event to request.

use std::collections::HashSet;
use std::time::Duration;

use tael_ids::MerchantId;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{BatchClosed, RefundFailed};
use tael_proto::notification::v1::{DeliveryState, DisableWebhookEndpointRequest};
use tael_testkit::{eventually, keyed, redis_url};

use crate::fixture::{Fixture, order_paid, payment_succeeded};
use crate::receiver::{Answer, Receiver};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test]
async fn an_event_is_told_once_and_signed() {
    let fixture = Fixture::start().await;
    let receiver = Receiver::start().await;
    let (endpoint_id, secret) = fixture.endpoint(&receiver, &[]).await;
    let event_id = fixture.order_log.append_traced(fixture.merchant_id, order_paid(), TRACE);

    let delivery = fixture.all_in(DeliveryState::Succeeded, 1).await.remove(0);
    assert_eq!((&delivery.webhook_endpoint_id, &delivery.event_id), (&endpoint_id, &event_id));
    assert_eq!((delivery.event_type.as_str(), delivery.next_attempt_time), ("order.paid", None));
    assert_eq!((delivery.attempts.len(), delivery.attempts[0].status), (1, 204));
    assert_eq!(delivery.attempts[0].error, "");
    assert_eq!(fixture.get(&delivery.delivery_id).await, delivery);

    let told = receiver.told();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].header("webhook-id"), event_id);
    assert_eq!(told[0].header("webhook-timestamp"), fixture.clock.now().as_second().to_string());
    assert_eq!(told[0].header("content-type"), "application/json");
    // Who we are inside is nobody's business.
    assert!(!told[0].headers.contains_key("traceparent") && !told[0].headers.contains_key("tracestate"));
    assert!(told[0].is_signed_with(&secret));
    assert!(!told[0].is_signed_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    assert_eq!(told[0].body, delivery.body);
    assert_eq!(
        told[0].body,
        format!(
            concat!(
                r#"{{"type":"order.paid","timestamp":"2026-03-01T08:00:00Z","merchant_id":"{}","aggregate_id":"agg_1","#,
                r#""data":{{"amount":{{"currency":"CNY","minor":16800}},"order_id":"ord_1","payment_id":"pay_1"}}}}"#
            ),
            fixture.merchant_id
        )
    );
}

#[tokio::test]
async fn the_trace_leaves_the_platform_where_its_operator_says_so() {
    let fixture = Fixture::with(redis_url(), |config| config.webhooks.traceparent = true).await;
    let receiver = Receiver::start().await;
    fixture.endpoint(&receiver, &[]).await;
    fixture.order_log.append_traced(fixture.merchant_id, order_paid(), TRACE);
    fixture.all_in(DeliveryState::Succeeded, 1).await;
    assert_eq!(receiver.told()[0].header("traceparent"), TRACE);
}

#[tokio::test]
async fn events_of_all_four_logs_are_told() {
    let fixture = Fixture::start().await;
    let receiver = Receiver::start().await;
    fixture.endpoint(&receiver, &[]).await;
    fixture.order_paid();
    fixture.payment_log.append(fixture.merchant_id, payment_succeeded());
    fixture.refund_log.append(fixture.merchant_id, Kind::RefundFailed(RefundFailed::default()));
    fixture.settlement_log.append(fixture.merchant_id, Kind::BatchClosed(BatchClosed::default()));
    let deliveries = fixture.all_in(DeliveryState::Succeeded, 4).await;
    let types: HashSet<&str> = deliveries.iter().map(|d| d.event_type.as_str()).collect();
    assert_eq!(types, HashSet::from(["order.paid", "payment.succeeded", "refund.failed", "batch.closed"]));
    assert_eq!(receiver.told().len(), 4);
}

#[tokio::test]
async fn an_endpoint_is_told_what_it_asked_for() {
    let fixture = Fixture::start().await;
    let (all, payments, stranger) =
        (Receiver::start().await, Receiver::start().await, Receiver::start().await);
    fixture.endpoint(&all, &[]).await;
    fixture.endpoint(&payments, &["payment.succeeded", "payment.failed"]).await;
    let mut other = fixture.request(&stranger.url, &[]);
    other.merchant_id = MerchantId::new().to_string();
    fixture.endpoint_client.clone().create_webhook_endpoint(keyed(other)).await.unwrap();

    fixture.order_paid();
    fixture.payment_log.append(fixture.merchant_id, payment_succeeded());
    fixture.all_in(DeliveryState::Succeeded, 3).await;
    assert_eq!((all.told().len(), payments.told().len(), stranger.told().len()), (2, 1, 0));
    assert!(payments.told()[0].body.contains(r#""type":"payment.succeeded""#));
}

#[tokio::test]
async fn two_replicas_deliver_once() {
    let fixture = Fixture::start().await;
    let replica = fixture.replica().await;
    let receiver = Receiver::start().await;
    fixture.endpoint(&receiver, &[]).await;
    for _ in 0..40 {
        fixture.order_paid();
        fixture.payment_log.append(fixture.merchant_id, payment_succeeded());
    }
    eventually("all deliveries to arrive", || async { (receiver.told().len() >= 80).then_some(()) }).await;
    fixture.order_log.consumed().await;
    eventually("all results to be recorded", || async {
        fixture.deliveries().await.iter().all(|d| d.state() == DeliveryState::Succeeded).then_some(())
    })
    .await;
    let told = receiver.told();
    let ids: HashSet<&str> = told.iter().map(|t| t.header("webhook-id")).collect();
    assert_eq!((told.len(), ids.len()), (80, 80));
    replica.stop().await;
}

#[tokio::test]
async fn a_disabled_endpoint_is_told_nothing_more() {
    let fixture = Fixture::start().await;
    let receiver = Receiver::start().await;
    let (endpoint_id, _) = fixture.endpoint(&receiver, &[]).await;
    receiver.usually(Answer::Status(500));
    fixture.order_paid();
    let delivery = fixture.tried(1).await;
    assert!(delivery.next_attempt_time.is_some());

    let request = DisableWebhookEndpointRequest {
        merchant_id: fixture.merchant_id.to_string(),
        webhook_endpoint_id: endpoint_id,
    };
    let disable = async || {
        let request = keyed(request.clone());
        fixture.endpoint_client.clone().disable_webhook_endpoint(request).await.unwrap().into_inner()
    };
    let disabled = disable().await;
    assert!(disabled.webhook_endpoint.as_ref().unwrap().disable_time.is_some());
    fixture.advance_secs(60);
    assert_eq!(disable().await, disabled);

    fixture.order_paid();
    fixture.order_log.consumed().await;
    // Another endpoint shows that everything that is due was sent.
    let other = Receiver::start().await;
    fixture.endpoint(&other, &[]).await;
    fixture.order_paid();
    eventually("the other endpoint to be told", || async { (!other.told().is_empty()).then_some(()) }).await;
    assert_eq!(receiver.told().len(), 1);
    let delivery = fixture.get(&delivery.delivery_id).await;
    assert_eq!((delivery.state(), delivery.next_attempt_time), (DeliveryState::Pending, None));
    assert_eq!(fixture.deliveries().await.len(), 2);
}

#[tokio::test]
async fn a_slow_endpoint_holds_nobody_up() {
    let fixture = Fixture::with(redis_url(), |config| config.webhooks.timeout = Duration::from_mins(1)).await;
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    slow.usually(Answer::Hang);
    fixture.endpoint(&slow, &["order.paid"]).await;
    fixture.endpoint(&quick, &["payment.succeeded"]).await;
    for _ in 0..300 {
        fixture.order_paid();
    }
    fixture.order_log.consumed().await;
    for _ in 0..20 {
        fixture.payment_log.append(fixture.merchant_id, payment_succeeded());
    }
    eventually("the quick endpoint to be told", || async { (quick.told().len() == 20).then_some(()) }).await;
    assert!(slow.told().len() <= 16, "{} requests to one endpoint at once", slow.told().len());
    fixture.running.kill();
}

#[tokio::test]
async fn what_was_sent_is_recorded_before_the_end() {
    let fixture = Fixture::start().await;
    let receiver = Receiver::start().await;
    fixture.endpoint(&receiver, &[]).await;
    for _ in 0..20 {
        fixture.order_paid();
    }
    eventually("the first request", || async { (!receiver.told().is_empty()).then_some(()) }).await;
    let replica = fixture.replica().await;
    let Fixture { running, .. } = fixture;
    running.stop().await;
    let told = eventually("the replica to do the rest", || async {
        let told = receiver.told();
        (told.len() >= 20).then_some(told)
    })
    .await;
    assert_eq!(told.len(), 20);
    replica.stop().await;
}

/// Nobody tells consumers and worker that their connections are dead.
#[tokio::test]
async fn a_database_that_falls_silent_does_not_stop_deliveries() {
    let (fixture, link) = Fixture::over_a_link().await;
    let receiver = Receiver::start().await;
    fixture.endpoint(&receiver, &[]).await;
    link.freeze();
    fixture.order_paid();
    eventually("the delivery", async || (receiver.told().len() == 1).then_some(())).await;
}
