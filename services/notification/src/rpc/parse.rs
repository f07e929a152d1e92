//! Requests become domain values; every bad field is named.

use std::collections::HashSet;

use tael_egress::Policy;
use tael_grpc::fields::Fields;
use tael_grpc::page::Page;
use tael_ids::{DeliveryId, MerchantId, WebhookEndpointId};
use tael_proto::event::v1::Visibility;
use tael_proto::notification::v1::{
    CreateWebhookEndpointRequest, DeliveryState, ListDeliveriesRequest, ListWebhookEndpointsRequest,
};
use tonic::Status;
use url::Url;

use crate::body::ENDPOINT_DISABLED;

pub(super) fn create_webhook_endpoint(
    request: &CreateWebhookEndpointRequest,
    egress: &Policy,
) -> Result<(MerchantId, Url, Vec<String>), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let url = egress.parse(&request.url).map_or_else(|e| fields.bad("url", e.to_string()), Some);
    let event_types = event_types(&mut fields, &request.event_types);
    fields.finish(|| Some((merchant_id?, url?, event_types?)))
}

pub(super) fn list_webhook_endpoints(
    request: &ListWebhookEndpointsRequest,
) -> Result<(MerchantId, Page), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let scope = ["ListWebhookEndpoints", &request.merchant_id];
    let page = Page::parse(&mut fields, request.page_size, &request.page_token, &scope);
    fields.finish(|| Some((merchant_id?, page?)))
}

pub(super) fn webhook_endpoint(
    merchant_id: &str,
    endpoint_id: &str,
) -> Result<(MerchantId, WebhookEndpointId), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", merchant_id);
    let endpoint_id = fields.id("webhook_endpoint_id", endpoint_id);
    fields.finish(|| Some((merchant_id?, endpoint_id?)))
}

pub(super) fn delivery(merchant_id: &str, delivery_id: &str) -> Result<(MerchantId, DeliveryId), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", merchant_id);
    let delivery_id = fields.id("delivery_id", delivery_id);
    fields.finish(|| Some((merchant_id?, delivery_id?)))
}

/// The merchant, the endpoint if one is named, the state as it is stored if one is given, and the page.
type DeliveryList = (MerchantId, Option<WebhookEndpointId>, Option<&'static str>, Page);

pub(super) fn list_deliveries(request: &ListDeliveriesRequest) -> Result<DeliveryList, Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let endpoint_id = fields.optional_id("webhook_endpoint_id", &request.webhook_endpoint_id);
    let state = match DeliveryState::try_from(request.state) {
        Ok(DeliveryState::Unspecified) => Some(None),
        Ok(DeliveryState::Pending) => Some(Some("pending")),
        Ok(DeliveryState::Succeeded) => Some(Some("succeeded")),
        Ok(DeliveryState::Failed) => Some(Some("failed")),
        Err(_) => fields.bad("state", "is not a known value"),
    };
    let state_name = request.state.to_string();
    let scope = ["ListDeliveries", &request.merchant_id, &request.webhook_endpoint_id, &state_name];
    let page = Page::parse(&mut fields, request.page_size, &request.page_token, &scope);
    fields.finish(|| Some((merchant_id?, endpoint_id?, state?, page?)))
}

fn event_types(fields: &mut Fields, wanted: &[String]) -> Option<Vec<String>> {
    let mut seen = HashSet::new();
    for (index, event_type) in wanted.iter().enumerate() {
        let is_public = tael_eventlog::kinds()
            .any(|kind| kind.visibility == Visibility::Public && kind.name == *event_type);
        if event_type != ENDPOINT_DISABLED && !is_public {
            return fields.bad(format!("event_types[{index}]"), "is not a known event type");
        }
        if !seen.insert(event_type) {
            return fields.bad(format!("event_types[{index}]"), "is there twice");
        }
    }
    Some(wanted.to_vec())
}
