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

use crate::receiver::{Answer, Receiver};
use crate::world::{World, payment_succeeded};

fn request(world: &World, delivery: &Delivery) -> ReplayDeliveryRequest {
    ReplayDeliveryRequest {
        merchant_id: world.merchant_id.to_string(),
        delivery_id: delivery.delivery_id.clone(),
    }
}

#[tokio::test]
async fn a_delivery_is_sent_again_whatever_became_of_it() {
    let world = World::start().await;
    let receiver = Receiver::start().await;
    let (_, secret) = world.endpoint(&receiver, &[]).await;
    world.order_paid();
    let delivery = world.all_in(DeliveryState::Succeeded, 1).await.remove(0);

    let mut notifications = world.notifications.clone();
    receiver.next([Answer::Status(500)]);
    let answer = notifications.replay_delivery(keyed(request(&world, &delivery))).await.unwrap().into_inner();
    assert_eq!(answer.delivery.unwrap().state(), DeliveryState::Pending);
    let failed = world.tried(2).await;
    // The schedule begins anew.
    let pause = failed.next_attempt_time.unwrap().seconds - world.clock.now().as_second();
    assert!((5..=6).contains(&pause), "{pause} s");

    notifications.replay_delivery(keyed(request(&world, &delivery))).await.unwrap();
    world.tried(3).await;
    let told = receiver.told();
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|t| t.header("webhook-id") == delivery.event_id && t.is_signed_with(&secret)));
}

#[tokio::test]
async fn fifty_identical_replays_send_once() {
    for redis in [redis_url(), no_redis_url()] {
        let world = World::with(redis, |_| {}).await;
        let receiver = Receiver::start().await;
        world.endpoint(&receiver, &[]).await;
        world.order_paid();
        let delivery = world.all_in(DeliveryState::Succeeded, 1).await.remove(0);
        let key = new_key();
        let calls = (0..50).map(|_| {
            let (mut notifications, request) =
                (world.notifications.clone(), with_key(&key, request(&world, &delivery)));
            async move { notifications.replay_delivery(request).await.unwrap() }
        });
        join_all(calls).await;
        world.tried(2).await;
        world.all_in(DeliveryState::Succeeded, 1).await;
        assert_eq!(receiver.told().len(), 2);

        world.payment_log.append(world.merchant_id, payment_succeeded());
        let other = world.all_in(DeliveryState::Succeeded, 2).await.remove(0);
        assert_ne!(other.delivery_id, delivery.delivery_id);
        let reused = with_key(&key, request(&world, &other));
        let status = world.notifications.clone().replay_delivery(reused).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists);
    }
}

#[tokio::test]
async fn a_replay_outlives_the_try_that_is_under_way() {
    let world = World::with(redis_url(), |config| config.webhooks.timeout = Duration::from_secs(2)).await;
    let receiver = Receiver::start().await;
    world.endpoint(&receiver, &[]).await;
    receiver.next([Answer::Hang]);
    world.order_paid();
    eventually("the first request", || async { receiver.told().first().map(|_| ()) }).await;
    let delivery = world.deliveries().await.remove(0);
    world.notifications.clone().replay_delivery(keyed(request(&world, &delivery))).await.unwrap();

    let delivery = world.tried(2).await;
    // The first request ends last, by its time-out, and does not undo the second one's success.
    let mut statuses: Vec<u32> = delivery.attempts.iter().map(|a| a.status).collect();
    statuses.sort_unstable();
    assert_eq!((delivery.state(), statuses), (DeliveryState::Succeeded, vec![0, 204]));
}

#[tokio::test]
async fn a_replay_to_a_disabled_endpoint_waits() {
    let world = World::start().await;
    let receiver = Receiver::start().await;
    let (webhook_endpoint_id, _) = world.endpoint(&receiver, &[]).await;
    world.order_paid();
    let delivery = world.all_in(DeliveryState::Succeeded, 1).await.remove(0);
    let mut notifications = world.notifications.clone();
    let disable =
        DisableWebhookEndpointRequest { merchant_id: world.merchant_id.to_string(), webhook_endpoint_id };
    notifications.disable_webhook_endpoint(keyed(disable)).await.unwrap();
    let replayed =
        notifications.replay_delivery(keyed(request(&world, &delivery))).await.unwrap().into_inner();
    let replayed = replayed.delivery.unwrap();
    assert_eq!((replayed.state(), replayed.next_attempt_time), (DeliveryState::Pending, None));
}

#[tokio::test]
async fn unknown_deliveries_are_not_found() {
    let world = World::start().await;
    let receiver = Receiver::start().await;
    world.endpoint(&receiver, &[]).await;
    world.order_paid();
    let delivery = world.all_in(DeliveryState::Succeeded, 1).await.remove(0);
    let mut notifications = world.notifications.clone();
    for (merchant_id, delivery_id) in [
        (MerchantId::new().to_string(), delivery.delivery_id.clone()),
        (world.merchant_id.to_string(), DeliveryId::new().to_string()),
    ] {
        let get = GetDeliveryRequest { merchant_id: merchant_id.clone(), delivery_id: delivery_id.clone() };
        let replay = ReplayDeliveryRequest { merchant_id, delivery_id };
        for status in [
            notifications.get_delivery(get).await.unwrap_err(),
            notifications.replay_delivery(keyed(replay)).await.unwrap_err(),
        ] {
            assert_eq!(
                (status.code(), reason(&status).as_deref()),
                (Code::NotFound, Some("DELIVERY_NOT_FOUND"))
            );
        }
    }
    assert_eq!(receiver.told().len(), 1);
}

async fn list(world: &World, request: ListDeliveriesRequest) -> Result<(Vec<Delivery>, String), Status> {
    let request = ListDeliveriesRequest { merchant_id: world.merchant_id.to_string(), ..request };
    let answer = world.notifications.clone().list_deliveries(request).await?.into_inner();
    Ok((answer.deliveries, answer.next_page_token))
}

#[tokio::test]
async fn deliveries_are_listed_by_endpoint_and_state() {
    let world = World::start().await;
    let (good, bad) = (Receiver::start().await, Receiver::start().await);
    bad.usually(Answer::Status(500));
    let (good_id, _) = world.endpoint(&good, &["order.paid"]).await;
    let (bad_id, _) = world.endpoint(&bad, &["payment.succeeded"]).await;
    for _ in 0..3 {
        world.order_paid();
    }
    world.payment_log.append(world.merchant_id, payment_succeeded());
    eventually("all to be tried", || async {
        let all = world.deliveries().await;
        (all.len() == 4 && all.iter().all(|d| d.attempts.len() == 1)).then_some(())
    })
    .await;

    let to_good =
        ListDeliveriesRequest { webhook_endpoint_id: good_id.clone(), page_size: 2, ..Default::default() };
    let (first, token) = list(&world, to_good.clone()).await.unwrap();
    assert_eq!(first.len(), 2);
    assert!(
        first[0].delivery_id > first[1].delivery_id && first.iter().all(|d| d.webhook_endpoint_id == good_id)
    );
    let (second, end) =
        list(&world, ListDeliveriesRequest { page_token: token.clone(), ..to_good }).await.unwrap();
    assert_eq!((second.len(), end.as_str()), (1, ""));
    assert!(second[0].delivery_id < first[1].delivery_id);

    let pending = ListDeliveriesRequest { state: DeliveryState::Pending.into(), ..Default::default() };
    let (pending, _) = list(&world, pending).await.unwrap();
    assert_eq!((pending.len(), &pending[0].webhook_endpoint_id), (1, &bad_id));

    let elsewhere = ListDeliveriesRequest { page_token: token, ..Default::default() };
    assert_eq!(bad_fields(&list(&world, elsewhere).await.unwrap_err()), ["page_token"]);
}
