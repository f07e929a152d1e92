//! ReplayDelivery, GetDelivery, ListDeliveries.

use std::time::Duration;

use futures::future::join_all;
use tael_grpc::status::{bad_fields, reason};
use tael_ids::{DeliveryId, MerchantId};
use tael_proto::notification::v1::{
    Delivery, DeliveryState, DisableWebhookEndpointRequest, GetDeliveryRequest, ListDeliveriesRequest,
    ReplayDeliveryRequest,
};
use tael_testkit::{eventually, keyed, new_key, no_redis_url, redis_url, with_key};
use tonic::{Code, Status};

use crate::fixture::{Fixture, payment_succeeded};
use crate::receiver::{Answer, Receiver};

fn request(fixture: &Fixture, delivery: &Delivery) -> ReplayDeliveryRequest {
    ReplayDeliveryRequest {
        merchant_id: fixture.merchant_id.to_string(),
        delivery_id: delivery.delivery_id.clone(),
    }
}

#[tokio::test]
async fn a_delivery_is_sent_again_whatever_became_of_it() {
    let fixture = Fixture::start().await;
    let receiver = Receiver::start().await;
    let (_, secret) = fixture.endpoint(&receiver, &[]).await;
    fixture.order_paid();
    let delivery = fixture.all_in(DeliveryState::Succeeded, 1).await.remove(0);

    let mut delivery_client = fixture.delivery_client.clone();
    receiver.next([Answer::Status(500)]);
    let answer =
        delivery_client.replay_delivery(keyed(request(&fixture, &delivery))).await.unwrap().into_inner();
    assert_eq!(answer.delivery.unwrap().state(), DeliveryState::Pending);
    let failed = fixture.tried(2).await;
    // The schedule begins anew.
    let pause = failed.next_attempt_time.unwrap().seconds - fixture.clock.now().as_second();
    assert!((5..=6).contains(&pause), "{pause} s");

    delivery_client.replay_delivery(keyed(request(&fixture, &delivery))).await.unwrap();
    fixture.tried(3).await;
    let told = receiver.told();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|t| t.header("webhook-id") == delivery.event_id && t.is_signed_with(&secret)));
}

#[tokio::test]
async fn fifty_identical_replays_send_once() {
    for redis in [redis_url(), no_redis_url()] {
        let fixture = Fixture::with(redis, |_| {}).await;
        let receiver = Receiver::start().await;
        fixture.endpoint(&receiver, &[]).await;
        fixture.order_paid();
        let delivery = fixture.all_in(DeliveryState::Succeeded, 1).await.remove(0);
        let key = new_key();
        let calls = (0..50).map(|_| {
            let (mut delivery_client, request) =
                (fixture.delivery_client.clone(), with_key(&key, request(&fixture, &delivery)));
            async move { delivery_client.replay_delivery(request).await.unwrap() }
        });
        join_all(calls).await;
        fixture.tried(2).await;
        fixture.all_in(DeliveryState::Succeeded, 1).await;
        assert_eq!(receiver.told().len(), 2);

        fixture.payment_log.append(fixture.merchant_id, payment_succeeded());
        let other = fixture.all_in(DeliveryState::Succeeded, 2).await.remove(0);
        assert_ne!(other.delivery_id, delivery.delivery_id);
        let reused = with_key(&key, request(&fixture, &other));
        let status = fixture.delivery_client.clone().replay_delivery(reused).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists);
    }
}

#[tokio::test]
async fn a_replay_outlives_the_try_that_is_under_way() {
    let fixture = Fixture::with(redis_url(), |config| config.webhooks.timeout = Duration::from_secs(2)).await;
    let receiver = Receiver::start().await;
    fixture.endpoint(&receiver, &[]).await;
    receiver.next([Answer::Hang]);
    fixture.order_paid();
    eventually("the first request", || async { receiver.told().first().map(|_| ()) }).await;
    let delivery = fixture.deliveries().await.remove(0);
    fixture.delivery_client.clone().replay_delivery(keyed(request(&fixture, &delivery))).await.unwrap();

    let delivery = fixture.tried(2).await;
    // The first request ends last, by its time-out, and does not undo the second one's success.
    let mut statuses: Vec<u32> = delivery.attempts.iter().map(|a| a.status).collect();
    statuses.sort_unstable();
    assert_eq!((delivery.state(), statuses), (DeliveryState::Succeeded, vec![0, 204]));
}

#[tokio::test]
async fn a_replay_to_a_disabled_endpoint_waits() {
    let fixture = Fixture::start().await;
    let receiver = Receiver::start().await;
    let (webhook_endpoint_id, _) = fixture.endpoint(&receiver, &[]).await;
    fixture.order_paid();
    let delivery = fixture.all_in(DeliveryState::Succeeded, 1).await.remove(0);
    let mut delivery_client = fixture.delivery_client.clone();
    let mut endpoint_client = fixture.endpoint_client.clone();
    let disable =
        DisableWebhookEndpointRequest { merchant_id: fixture.merchant_id.to_string(), webhook_endpoint_id };
    endpoint_client.disable_webhook_endpoint(keyed(disable)).await.unwrap();
    let replayed =
        delivery_client.replay_delivery(keyed(request(&fixture, &delivery))).await.unwrap().into_inner();
    let replayed = replayed.delivery.unwrap();
    assert_eq!((replayed.state(), replayed.next_attempt_time), (DeliveryState::Pending, None));
}

#[tokio::test]
async fn unknown_deliveries_are_not_found() {
    let fixture = Fixture::start().await;
    let receiver = Receiver::start().await;
    fixture.endpoint(&receiver, &[]).await;
    fixture.order_paid();
    let delivery = fixture.all_in(DeliveryState::Succeeded, 1).await.remove(0);
    let mut delivery_client = fixture.delivery_client.clone();
    for (merchant_id, delivery_id) in [
        (MerchantId::new().to_string(), delivery.delivery_id.clone()),
        (fixture.merchant_id.to_string(), DeliveryId::new().to_string()),
    ] {
        let get = GetDeliveryRequest { merchant_id: merchant_id.clone(), delivery_id: delivery_id.clone() };
        let replay = ReplayDeliveryRequest { merchant_id, delivery_id };
        for status in [
            delivery_client.get_delivery(get).await.unwrap_err(),
            delivery_client.replay_delivery(keyed(replay)).await.unwrap_err(),
        ] {
            assert_eq!(
                (status.code(), reason(&status).as_deref()),
                (Code::NotFound, Some("DELIVERY_NOT_FOUND"))
            );
        }
    }
    assert_eq!(receiver.told().len(), 1);
}

async fn list(fixture: &Fixture, request: ListDeliveriesRequest) -> Result<(Vec<Delivery>, String), Status> {
    let request = ListDeliveriesRequest { merchant_id: fixture.merchant_id.to_string(), ..request };
    let answer = fixture.delivery_client.clone().list_deliveries(request).await?.into_inner();
    Ok((answer.deliveries, answer.next_page_token))
}

#[tokio::test]
async fn deliveries_are_listed_by_endpoint_and_state() {
    let fixture = Fixture::start().await;
    let (good, bad) = (Receiver::start().await, Receiver::start().await);
    bad.usually(Answer::Status(500));
    let (good_id, _) = fixture.endpoint(&good, &["order.paid"]).await;
    let (bad_id, _) = fixture.endpoint(&bad, &["payment.succeeded"]).await;
    for _ in 0..3 {
        fixture.order_paid();
    }
    fixture.payment_log.append(fixture.merchant_id, payment_succeeded());
    eventually("all to be tried", || async {
        let all = fixture.deliveries().await;
        (all.len() == 4 && all.iter().all(|d| d.attempts.len() == 1)).then_some(())
    })
    .await;

    let to_good =
        ListDeliveriesRequest { webhook_endpoint_id: good_id.clone(), page_size: 2, ..Default::default() };
    let (first, token) = list(&fixture, to_good.clone()).await.unwrap();
    assert_eq!(first.len(), 2);
    assert!(
        first[0].delivery_id > first[1].delivery_id && first.iter().all(|d| d.webhook_endpoint_id == good_id)
    );
    let (second, end) =
        list(&fixture, ListDeliveriesRequest { page_token: token.clone(), ..to_good }).await.unwrap();
    assert_eq!((second.len(), end.as_str()), (1, ""));
    assert!(second[0].delivery_id < first[1].delivery_id);

    let pending = ListDeliveriesRequest { state: DeliveryState::Pending.into(), ..Default::default() };
    let (pending, _) = list(&fixture, pending).await.unwrap();
    assert_eq!((pending.len(), &pending[0].webhook_endpoint_id), (1, &bad_id));

    let elsewhere = ListDeliveriesRequest { page_token: token, ..Default::default() };
    assert_eq!(bad_fields(&list(&fixture, elsewhere).await.unwrap_err()), ["page_token"]);
}
