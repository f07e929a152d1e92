//! Nobody waits for another merchant's endpoints.

use std::time::Duration;

use futures::future::join_all;
use tael_proto::notification::v1::DeliveryState;
use tael_testkit::{eventually, redis_url};

use crate::fixture::{Fixture, order_paid};
use crate::receiver::{Answer, Receiver};

/// Eight dead endpoints of one merchant held all places until their requests timed out.
#[tokio::test]
async fn dead_endpoints_of_one_merchant_do_not_delay_another_one_s_delivery() {
    // Longer than the test may take: nothing goes on because a request timed out.
    let fixture = Fixture::with(redis_url(), |config| config.webhooks.timeout = Duration::from_mins(5)).await;
    let dead = join_all((0..8).map(|_| Receiver::start())).await;
    for receiver in &dead {
        receiver.usually(Answer::Hang);
        fixture.endpoint(receiver, &[]).await;
    }
    for _ in 0..40 {
        fixture.order_paid();
    }
    fixture.order_log.consumed().await;
    let hanging = || dead.iter().map(|receiver| receiver.told().len()).sum::<usize>();
    eventually("the merchant's share to be taken", || async { (hanging() >= 32).then_some(()) }).await;

    let quick = Receiver::start().await;
    let other = fixture.endpoint_of_another(&quick).await;
    for _ in 0..50 {
        fixture.order_log.append(other, order_paid());
    }
    eventually("the other merchant to be told", || async { (quick.told().len() == 50).then_some(()) }).await;
    // All that time nothing of the first one's had ended, and it had no more than its share.
    assert!(
        fixture
            .deliveries()
            .await
            .iter()
            .all(|d| d.state() == DeliveryState::Pending && d.attempts.is_empty())
    );
    assert_eq!(hanging(), 32);
    // Its endpoints have it in equal parts.
    assert!(dead.iter().all(|receiver| receiver.told().len() == 4));
    fixture.running.kill();
}

/// However many merchants have endpoints that hang, one more finds a place.
#[tokio::test]
async fn many_merchants_with_dead_endpoints_leave_a_place_free() {
    let fixture = Fixture::with(redis_url(), |config| config.webhooks.timeout = Duration::from_mins(5)).await;
    let dead = Receiver::start().await;
    dead.usually(Answer::Hang);
    let hogs = join_all((0..12).map(|_| fixture.endpoint_of_another(&dead))).await;
    for merchant_id in &hogs {
        for _ in 0..20 {
            fixture.order_log.append(*merchant_id, order_paid());
        }
    }
    fixture.order_log.consumed().await;
    eventually("everybody's share to be taken", || async { (dead.told().len() >= 100).then_some(()) }).await;

    let quick = Receiver::start().await;
    fixture.endpoint(&quick, &[]).await;
    fixture.order_paid();
    fixture.all_in(DeliveryState::Succeeded, 1).await;
    fixture.running.kill();
}
