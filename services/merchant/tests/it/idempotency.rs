use futures::future::join_all;
use tael_grpc::status::reason;
use tael_proto::merchant::v1::ListMerchantsRequest;
use tael_testkit::{new_key, no_redis_url, redis_url, with_key};
use tonic::Code;

use crate::fixture::{registration, start, start_with_redis};

#[tokio::test]
async fn fifty_at_once_make_one_merchant_with_and_without_redis() {
    for redis in [redis_url(), no_redis_url()] {
        let mut service = start_with_redis(redis).await;
        let key = new_key();
        let calls = (0..50).map(|_| {
            let mut client = service.client.clone();
            let request = with_key(&key, registration("Shop"));
            async move { client.register_merchant(request).await.unwrap().into_inner() }
        });
        let answers = join_all(calls).await;
        assert!(answers.iter().all(|answer| answer == &answers[0]));
        let list = service.client.list_merchants(ListMerchantsRequest::default()).await.unwrap().into_inner();
        assert_eq!(list.merchants.len(), 1);
    }
}

#[tokio::test]
async fn a_key_with_another_request_is_refused_with_and_without_redis() {
    for redis in [redis_url(), no_redis_url()] {
        let mut service = start_with_redis(redis).await;
        let key = new_key();
        service.client.register_merchant(with_key(&key, registration("Shop"))).await.unwrap();
        let error =
            service.client.register_merchant(with_key(&key, registration("Other"))).await.unwrap_err();
        assert_eq!(error.code(), Code::AlreadyExists);
        assert_eq!(reason(&error).as_deref(), Some("IDEMPOTENCY_KEY_REUSED"));
    }
}

#[tokio::test]
async fn a_recorded_answer_is_marked() {
    let mut service = start().await;
    let key = new_key();
    let first = service.client.register_merchant(with_key(&key, registration("Shop"))).await.unwrap();
    let second = service.client.register_merchant(with_key(&key, registration("Shop"))).await.unwrap();
    assert!(first.metadata().get(tael_idempotency::REPLAYED).is_none());
    assert_eq!(second.metadata().get(tael_idempotency::REPLAYED).unwrap(), "true");
    assert_eq!(first.into_inner(), second.into_inner());
}
