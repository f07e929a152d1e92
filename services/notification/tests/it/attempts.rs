//! What becomes of a try.

use std::time::Duration;

use tael_egress::Policy;
use tael_proto::notification::v1::DeliveryState;
use tael_testkit::redis_url;

use crate::fixture::Fixture;
use crate::receiver::{Answer, Receiver};

#[tokio::test]
async fn a_failed_delivery_is_tried_again_when_it_is_due() {
    let fixture = Fixture::start().await;
    let receiver = Receiver::start().await;
    let (_, secret) = fixture.endpoint(&receiver, &[]).await;
    receiver.next([Answer::Status(500), Answer::Status(404)]);
    fixture.order_paid();

    let failed = fixture.tried(1).await;
    assert_eq!((failed.state(), failed.attempts[0].status), (DeliveryState::Pending, 500));
    let pause = failed.next_attempt_time.unwrap().seconds - fixture.clock.now().as_second();
    assert!((5..=6).contains(&pause), "{pause} s");

    fixture.advance_secs(6);
    let failed = fixture.tried(2).await;
    let pause = failed.next_attempt_time.unwrap().seconds - fixture.clock.now().as_second();
    assert!((300..=360).contains(&pause), "{pause} s");

    fixture.advance_secs(360);
    let delivered = fixture.all_in(DeliveryState::Succeeded, 1).await.remove(0);
    let statuses: Vec<u32> = delivered.attempts.iter().map(|a| a.status).collect();
    assert_eq!(statuses, [500, 404, 204]);
    let told = receiver.told();
    assert!(told.iter().all(|t| t.is_signed_with(&secret) && t.body == told[0].body));
    assert!(told.iter().all(|t| t.header("webhook-id") == told[0].header("webhook-id")));
    assert_ne!(told[0].header("webhook-timestamp"), told[1].header("webhook-timestamp"));
}

#[tokio::test]
async fn a_delivery_is_given_up_after_ten_tries() {
    let fixture = Fixture::start().await;
    let receiver = Receiver::start().await;
    fixture.endpoint(&receiver, &[]).await;
    receiver.usually(Answer::Status(503));
    fixture.order_paid();
    for tries in 1..10 {
        fixture.tried(tries).await;
        fixture.advance_secs(30 * 3600); // more than any pause
    }
    let given_up = fixture.all_in(DeliveryState::Failed, 1).await.remove(0);
    assert_eq!((given_up.attempts.len(), given_up.next_attempt_time), (10, None));
    assert_eq!(receiver.told().len(), 10);
}

#[tokio::test]
async fn a_hanging_endpoint_times_out() {
    let fixture = Fixture::with(redis_url(), |config| config.webhooks.timeout = Duration::from_secs(1)).await;
    let receiver = Receiver::start().await;
    fixture.endpoint(&receiver, &[]).await;
    receiver.next([Answer::Hang]);
    fixture.order_paid();
    let attempt = fixture.tried(1).await.attempts.remove(0);
    assert_eq!((attempt.status, attempt.error.as_str()), (0, "timeout"));
    assert!(attempt.duration_ms >= 1_000);
    fixture.advance_secs(6);
    fixture.all_in(DeliveryState::Succeeded, 1).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let fixture = Fixture::start().await;
    let receiver = Receiver::start().await;
    fixture.endpoint(&receiver, &[]).await;
    receiver.usually(Answer::Redirect);
    fixture.order_paid();
    let delivery = fixture.tried(1).await;
    assert_eq!((delivery.state(), delivery.attempts[0].status), (DeliveryState::Pending, 302));
    assert_eq!(receiver.redirected(), 0);
}

#[tokio::test]
async fn an_endless_answer_is_cut_off() {
    let fixture = Fixture::start().await;
    let receiver = Receiver::start().await;
    fixture.endpoint(&receiver, &[]).await;
    receiver.usually(Answer::Endless);
    fixture.order_paid();
    let delivery = fixture.all_in(DeliveryState::Succeeded, 1).await.remove(0);
    assert_eq!(delivery.attempts[0].status, 200);
    assert!(delivery.attempts[0].duration_ms < 5_000, "cut off long before the time was up");
}

#[tokio::test]
async fn nobody_at_home_is_a_failed_try() {
    let fixture = Fixture::start().await;
    // Bound and dropped: nothing listens there.
    let url = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/?token=secret", listener.local_addr().unwrap())
    };
    fixture.try_endpoint(&url, &[]).await.unwrap();
    fixture.order_paid();
    let attempt = fixture.tried(1).await.attempts.remove(0);
    assert_eq!((attempt.status, attempt.error.as_str()), (0, "connection failed"));
}

#[tokio::test]
async fn a_private_address_is_not_connected_to() {
    let receiver = Receiver::start().await;
    let port = receiver.url.split(':').nth(2).unwrap().trim_end_matches("/hooks");
    let ports = [443, port.parse().unwrap()];
    let fixture =
        Fixture::with(redis_url(), |config| config.egress = Policy::strict().with_ports(&ports)).await;
    let refused = fixture.try_endpoint(&receiver.url, &[]).await.unwrap_err();
    assert_eq!(tael_grpc::status::bad_fields(&refused), ["url"]);

    // As if the name had led somewhere else when the endpoint was registered: now it leads to this machine.
    fixture.try_endpoint("https://hooks.example/", &[]).await.unwrap();
    fixture.point_endpoint_to(&format!("https://localhost:{port}/hooks")).await;
    fixture.order_paid();
    let attempt = fixture.tried(1).await.attempts.remove(0);
    assert_eq!((attempt.status, attempt.error.as_str()), (0, "no public address"));
    assert!(receiver.told().is_empty());
}
