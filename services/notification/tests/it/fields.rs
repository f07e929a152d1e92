//! Bad requests are refused by the names of their fields, and nothing is done.

use tael_egress::Policy;
use tael_grpc::status::bad_fields;
use tael_ids::MerchantId;
use tael_proto::notification::v1::{
    CreateWebhookEndpointRequest, DisableWebhookEndpointRequest, GetDeliveryRequest, ListDeliveriesRequest,
    ListWebhookEndpointsRequest, ReplayDeliveryRequest,
};
use tael_testkit::{keyed, redis_url};
use tonic::Code;

use crate::fixture::Fixture;

#[tokio::test]
async fn create_webhook_endpoint_names_every_bad_field() {
    let fixture = Fixture::with(redis_url(), |config| config.egress = Policy::strict()).await;
    let good = fixture.request("https://shop.example/hooks", &[]);
    let with_url = |url: &str| CreateWebhookEndpointRequest { url: url.to_owned(), ..good.clone() };
    let with_types = |types: &[&str]| fixture.request(&good.url, types);
    let cases = [
        (
            CreateWebhookEndpointRequest { merchant_id: "mer_x".to_owned(), ..good.clone() },
            vec!["merchant_id"],
        ),
        (with_url(""), vec!["url"]),
        (with_url("shop.example"), vec!["url"]),
        (with_url("http://shop.example"), vec!["url"]),
        (with_url("https://user:pass@shop.example"), vec!["url"]),
        (with_url("https://169.254.169.254/latest/meta-data"), vec!["url"]),
        (with_url("https://[fd00::1]/"), vec!["url"]),
        (with_url("https://payment:50052/"), vec!["url"]),
        (with_url("https://shop.example:8443/"), vec!["url"]),
        (with_url(&format!("https://shop.example/{}", "a".repeat(2048))), vec!["url"]),
        (with_types(&["order.eaten"]), vec!["event_types[0]"]),
        (with_types(&["order.paid", "order.paid"]), vec!["event_types[1]"]),
        (CreateWebhookEndpointRequest::default(), vec!["merchant_id", "url"]),
    ];
    for (request, expected) in cases {
        let status =
            fixture.endpoint_client.clone().create_webhook_endpoint(keyed(request)).await.unwrap_err();
        assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, owned(&expected)));
    }
    let keyless = fixture.endpoint_client.clone().create_webhook_endpoint(good).await.unwrap_err();
    assert_eq!(bad_fields(&keyless), ["idempotency-key"]);
    assert_eq!(fixture.endpoint_rows().await, 0);
}

#[tokio::test]
async fn the_other_calls_name_every_bad_field() {
    let fixture = Fixture::start().await;
    let mut endpoint_client = fixture.endpoint_client.clone();
    let mut delivery_client = fixture.delivery_client.clone();
    let merchant_id = MerchantId::new().to_string();

    let status = delivery_client.get_delivery(GetDeliveryRequest::default()).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["merchant_id", "delivery_id"]);

    let replay = ReplayDeliveryRequest { merchant_id: merchant_id.clone(), delivery_id: "evt_1".to_owned() };
    let status = delivery_client.replay_delivery(keyed(replay)).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["delivery_id"]);

    let disable = DisableWebhookEndpointRequest { merchant_id: merchant_id.clone(), ..Default::default() };
    let status = endpoint_client.disable_webhook_endpoint(keyed(disable)).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["webhook_endpoint_id"]);

    let list = ListWebhookEndpointsRequest { page_size: 101, ..Default::default() };
    let status = endpoint_client.list_webhook_endpoints(list).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["merchant_id", "page_size"]);

    let list = ListDeliveriesRequest {
        merchant_id,
        webhook_endpoint_id: "whe_?".to_owned(),
        state: 9,
        page_size: 0,
        page_token: "?".to_owned(),
    };
    let status = delivery_client.list_deliveries(list).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["webhook_endpoint_id", "state", "page_token"]);
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}
