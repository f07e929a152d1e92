//! gRPC: a request becomes domain values, a use case runs, its result goes on the wire.

mod reply;

use std::collections::HashSet;

use secrecy::ExposeSecret as _;
use tael_egress::Policy;
use tael_grpc::fields::Fields;
use tael_grpc::page::Page;
use tael_idempotency::{Call, Idempotency};
use tael_ids::{DeliveryId, MerchantId, WebhookEndpointId};
use tael_proto::notification::v1::notification_service_server::NotificationService;
use tael_proto::notification::v1::{
    CreateWebhookEndpointRequest, CreateWebhookEndpointResponse, DeliveryState,
    DisableWebhookEndpointRequest, DisableWebhookEndpointResponse, GetDeliveryRequest, GetDeliveryResponse,
    ListDeliveriesRequest, ListDeliveriesResponse, ListWebhookEndpointsRequest, ListWebhookEndpointsResponse,
    ReplayDeliveryRequest, ReplayDeliveryResponse,
};
use tonic::{Request, Response, Status};

use crate::usecase::Notifications;

/// The service on the wire.
#[derive(Debug)]
pub(crate) struct Rpc {
    pub(crate) notifications: Notifications,
    pub(crate) idempotency: Idempotency,
    /// Which addresses endpoints may have.
    pub(crate) egress: Policy,
}

#[tonic::async_trait]
impl NotificationService for Rpc {
    async fn create_webhook_endpoint(
        &self,
        request: Request<CreateWebhookEndpointRequest>,
    ) -> Result<Response<CreateWebhookEndpointResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let url = self.egress.parse(&request.url).map_or_else(|e| fields.bad("url", e.to_string()), Some);
        let event_types = event_types(&mut fields, &request.event_types);
        let (merchant_id, url, event_types) = fields.finish(|| Some((merchant_id?, url?, event_types?)))?;
        let call = Call::new(&merchant_id, "CreateWebhookEndpoint", &metadata, &request)?;
        // The database guard alone: the answer holds a secret, which must not be recorded in Redis.
        let (endpoint, secret) =
            self.notifications.create_endpoint(merchant_id, url, event_types, call.guard()).await?;
        Ok(Response::new(CreateWebhookEndpointResponse {
            webhook_endpoint: Some(reply::endpoint(endpoint)),
            secret: secret.expose_secret().to_owned(),
        }))
    }

    async fn list_webhook_endpoints(
        &self,
        request: Request<ListWebhookEndpointsRequest>,
    ) -> Result<Response<ListWebhookEndpointsResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let scope = ["ListWebhookEndpoints", &request.merchant_id];
        let page = Page::parse(&mut fields, request.page_size, &request.page_token, &scope);
        let (merchant_id, page) = fields.finish(|| Some((merchant_id?, page?)))?;
        let rows = self.notifications.list_endpoints(merchant_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |endpoint| endpoint.id.uuid());
        let webhook_endpoints = rows.into_iter().map(reply::endpoint).collect();
        Ok(Response::new(ListWebhookEndpointsResponse { webhook_endpoints, next_page_token }))
    }

    async fn disable_webhook_endpoint(
        &self,
        request: Request<DisableWebhookEndpointRequest>,
    ) -> Result<Response<DisableWebhookEndpointResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let endpoint_id = fields.id::<WebhookEndpointId>("webhook_endpoint_id", &request.webhook_endpoint_id);
        let (merchant_id, endpoint_id) = fields.finish(|| Some((merchant_id?, endpoint_id?)))?;
        let call = Call::new(&merchant_id, "DisableWebhookEndpoint", &metadata, &request)?;
        let notifications = self.notifications.clone();
        self.idempotency
            .run(call, move |_| async move {
                let endpoint = notifications.disable_endpoint(merchant_id, endpoint_id).await?;
                Ok(DisableWebhookEndpointResponse { webhook_endpoint: Some(reply::endpoint(endpoint)) })
            })
            .await
    }

    async fn get_delivery(
        &self,
        request: Request<GetDeliveryRequest>,
    ) -> Result<Response<GetDeliveryResponse>, Status> {
        let request = request.into_inner();
        let (merchant_id, delivery_id) = delivery_name(&request.merchant_id, &request.delivery_id)?;
        let delivery = self.notifications.delivery(merchant_id, delivery_id).await?;
        Ok(Response::new(GetDeliveryResponse { delivery: Some(reply::delivery(delivery)) }))
    }

    async fn list_deliveries(
        &self,
        request: Request<ListDeliveriesRequest>,
    ) -> Result<Response<ListDeliveriesResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let endpoint_id =
            fields.optional_id::<WebhookEndpointId>("webhook_endpoint_id", &request.webhook_endpoint_id);
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
        let (merchant_id, endpoint_id, state, page) =
            fields.finish(|| Some((merchant_id?, endpoint_id?, state?, page?)))?;
        let rows = self
            .notifications
            .list_deliveries(merchant_id, endpoint_id, state, page.after, page.limit())
            .await?;
        let (rows, next_page_token) = page.cut(rows, |delivery| delivery.id.uuid());
        let deliveries = rows.into_iter().map(reply::delivery).collect();
        Ok(Response::new(ListDeliveriesResponse { deliveries, next_page_token }))
    }

    async fn replay_delivery(
        &self,
        request: Request<ReplayDeliveryRequest>,
    ) -> Result<Response<ReplayDeliveryResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, delivery_id) = delivery_name(&request.merchant_id, &request.delivery_id)?;
        let call = Call::new(&merchant_id, "ReplayDelivery", &metadata, &request)?;
        let notifications = self.notifications.clone();
        self.idempotency
            .run(call, move |guard| async move {
                let delivery = notifications.replay(merchant_id, delivery_id, guard).await?;
                Ok(ReplayDeliveryResponse { delivery: Some(reply::delivery(delivery)) })
            })
            .await
    }
}

fn delivery_name(merchant_id: &str, delivery_id: &str) -> Result<(MerchantId, DeliveryId), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", merchant_id);
    let delivery_id = fields.id::<DeliveryId>("delivery_id", delivery_id);
    fields.finish(|| Some((merchant_id?, delivery_id?)))
}

fn event_types(fields: &mut Fields, wanted: &[String]) -> Option<Vec<String>> {
    let mut seen = HashSet::new();
    for (index, event_type) in wanted.iter().enumerate() {
        if !tael_eventlog::KINDS.contains(&event_type.as_str()) {
            return fields.bad(format!("event_types[{index}]"), "is not a known event type");
        }
        if !seen.insert(event_type) {
            return fields.bad(format!("event_types[{index}]"), "is there twice");
        }
    }
    Some(wanted.to_vec())
}
