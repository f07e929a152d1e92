//! CreateWebhookEndpoint, ListWebhookEndpoints, DisableWebhookEndpoint.

use base64::Engine as _;
use futures::future::join_all;
use tael_egress::Policy;
use tael_grpc::status::{bad_fields, reason};
use tael_ids::{MerchantId, WebhookEndpointId};
use tael_proto::notification::v1::{
    DisableWebhookEndpointRequest, ListWebhookEndpointsRequest, WebhookEndpoint,
};
use tael_testkit::{keyed, new_key, no_redis_url, redis_url, with_key};
use tonic::{Code, Status};

use crate::fixture::Fixture;

const URL: &str = "https://shop.example/hooks";

#[tokio::test]
async fn an_endpoint_is_registered_with_a_secret_that_is_stored_sealed() {
    let fixture = Fixture::start().await;
    let created = fixture.try_endpoint(URL, &["order.paid"]).await.unwrap();
    let endpoint = created.webhook_endpoint.unwrap();
    assert_eq!(
        (endpoint.url.as_str(), endpoint.event_types.as_slice()),
        (URL, &["order.paid".to_owned()][..])
    );
    assert_eq!(endpoint.merchant_id, fixture.merchant_id.to_string());
    assert_eq!(
        (endpoint.create_time.unwrap().seconds, endpoint.disable_time),
        (fixture.clock.now().as_second(), None)
    );

    let encoded = created.secret.strip_prefix("whsec_").unwrap();
    let secret = base64::engine::general_purpose::STANDARD.decode(encoded).unwrap();
    assert!((24..=64).contains(&secret.len()), "{} bytes", secret.len());
    let stored = fixture.stored_secret().await;
    assert!(!stored.windows(secret.len()).any(|window| window == secret));
}

#[tokio::test]
async fn fifty_identical_calls_are_one_endpoint_with_one_secret() {
    for redis in [redis_url(), no_redis_url()] {
        let fixture = Fixture::with(redis, |_| {}).await;
        let key = new_key();
        let calls = (0..50).map(|_| {
            let request = with_key(&key, fixture.request(URL, &[]));
            let mut endpoint_client = fixture.endpoint_client.clone();
            async move { endpoint_client.create_webhook_endpoint(request).await.unwrap().into_inner() }
        });
        let answers = join_all(calls).await;
        assert!(answers.iter().all(|a| *a == answers[0]));
        assert_eq!(fixture.endpoint_rows().await, 1);

        let other = with_key(&key, fixture.request("https://other.example/", &[]));
        let status = fixture.endpoint_client.clone().create_webhook_endpoint(other).await.unwrap_err();
        assert_eq!(status.code(), Code::AlreadyExists);
        assert_eq!(reason(&status).as_deref(), Some("IDEMPOTENCY_KEY_REUSED"));
    }
}

#[tokio::test]
async fn http_needs_permission() {
    let fixture = Fixture::with(redis_url(), |config| config.egress = Policy::strict()).await;
    let status = fixture.try_endpoint("http://shop.example/", &[]).await.unwrap_err();
    assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, vec!["url".to_owned()]));
    fixture.try_endpoint(URL, &[]).await.unwrap();
}

async fn list(
    fixture: &Fixture,
    page_size: u32,
    page_token: &str,
) -> Result<(Vec<WebhookEndpoint>, String), Status> {
    let request = ListWebhookEndpointsRequest {
        merchant_id: fixture.merchant_id.to_string(),
        page_size,
        page_token: page_token.to_owned(),
    };
    let answer = fixture.endpoint_client.clone().list_webhook_endpoints(request).await?.into_inner();
    Ok((answer.webhook_endpoints, answer.next_page_token))
}

#[tokio::test]
async fn endpoints_are_listed_page_by_page_newest_first() {
    let fixture = Fixture::start().await;
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.insert(0, fixture.try_endpoint(URL, &[]).await.unwrap().webhook_endpoint.unwrap());
    }
    let (first, token) = list(&fixture, 2, "").await.unwrap();
    assert_eq!(first, expected[..2]);
    let (second, end) = list(&fixture, 2, &token).await.unwrap();
    assert_eq!((second.as_slice(), end.as_str()), (&expected[2..], ""));

    let stranger = ListWebhookEndpointsRequest {
        merchant_id: MerchantId::new().to_string(),
        page_size: 2,
        page_token: token,
    };
    let status = fixture.endpoint_client.clone().list_webhook_endpoints(stranger).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["page_token"]);
}

#[tokio::test]
async fn only_an_own_endpoint_can_be_disabled() {
    let fixture = Fixture::start().await;
    let endpoint = fixture.try_endpoint(URL, &[]).await.unwrap().webhook_endpoint.unwrap();
    for (merchant_id, webhook_endpoint_id) in [
        (MerchantId::new().to_string(), endpoint.webhook_endpoint_id.clone()),
        (fixture.merchant_id.to_string(), WebhookEndpointId::new().to_string()),
    ] {
        let request = keyed(DisableWebhookEndpointRequest { merchant_id, webhook_endpoint_id });
        let status = fixture.endpoint_client.clone().disable_webhook_endpoint(request).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_deref()),
            (Code::NotFound, Some("WEBHOOK_ENDPOINT_NOT_FOUND"))
        );
    }
    assert_eq!(list(&fixture, 0, "").await.unwrap().0, [endpoint]);
}
