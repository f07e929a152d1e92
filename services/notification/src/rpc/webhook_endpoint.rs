//! `WebhookEndpointService`.

use secrecy::ExposeSecret as _;
use tael_egress::Policy;
use tael_idempotency::{Call, Idempotency};
use tael_proto::notification::v1::webhook_endpoint_service_server::WebhookEndpointService;
use tael_proto::notification::v1::{
    CreateWebhookEndpointRequest, CreateWebhookEndpointResponse, DisableWebhookEndpointRequest,
    DisableWebhookEndpointResponse, EnableWebhookEndpointRequest, EnableWebhookEndpointResponse,
    ListWebhookEndpointsRequest, ListWebhookEndpointsResponse,
};
use tonic::{Request, Response, Status};

use crate::domain::webhook_endpoint::DisableReason;
use crate::rpc::{convert, parse};
use crate::usecase::Notifications;

/// The service on the wire.
#[derive(Debug)]
pub(crate) struct WebhookEndpointRpc {
    pub(crate) notifications: Notifications,
    pub(crate) idempotency: Idempotency,
    /// Which addresses endpoints may have.
    pub(crate) egress: Policy,
}

#[tonic::async_trait]
impl WebhookEndpointService for WebhookEndpointRpc {
    async fn create_webhook_endpoint(
        &self,
        request: Request<CreateWebhookEndpointRequest>,
    ) -> Result<Response<CreateWebhookEndpointResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, url, event_types) = parse::create_webhook_endpoint(&request, &self.egress)?;
        let call = Call::new(&merchant_id, "CreateWebhookEndpoint", &metadata, &request)?;
        // The database guard alone: the answer holds a secret, which must not be recorded in Redis.
        let key = call.guard();
        let (endpoint, secret) =
            self.notifications.create_endpoint(merchant_id, url, event_types, key).await?;
        Ok(Response::new(CreateWebhookEndpointResponse {
            webhook_endpoint: Some(convert::webhook_endpoint(endpoint)),
            secret: secret.expose_secret().to_owned(),
        }))
    }

    async fn list_webhook_endpoints(
        &self,
        request: Request<ListWebhookEndpointsRequest>,
    ) -> Result<Response<ListWebhookEndpointsResponse>, Status> {
        let (merchant_id, page) = parse::list_webhook_endpoints(&request.into_inner())?;
        let rows = self.notifications.list_endpoints(merchant_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |endpoint| endpoint.id.uuid());
        let webhook_endpoints = rows.into_iter().map(convert::webhook_endpoint).collect();
        Ok(Response::new(ListWebhookEndpointsResponse { webhook_endpoints, next_page_token }))
    }

    async fn disable_webhook_endpoint(
        &self,
        request: Request<DisableWebhookEndpointRequest>,
    ) -> Result<Response<DisableWebhookEndpointResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, id) = parse::webhook_endpoint(&request.merchant_id, &request.webhook_endpoint_id)?;
        let call = Call::new(&merchant_id, "DisableWebhookEndpoint", &metadata, &request)?;
        let notifications = self.notifications.clone();
        self.idempotency
            .run(call, move |_| async move {
                let endpoint =
                    notifications.disable_endpoint(merchant_id, id, DisableReason::Requested).await?;
                Ok(DisableWebhookEndpointResponse {
                    webhook_endpoint: Some(convert::webhook_endpoint(endpoint)),
                })
            })
            .await
    }

    async fn enable_webhook_endpoint(
        &self,
        request: Request<EnableWebhookEndpointRequest>,
    ) -> Result<Response<EnableWebhookEndpointResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, id) = parse::webhook_endpoint(&request.merchant_id, &request.webhook_endpoint_id)?;
        let call = Call::new(&merchant_id, "EnableWebhookEndpoint", &metadata, &request)?;
        let notifications = self.notifications.clone();
        self.idempotency
            .run(call, move |_| async move {
                let endpoint = notifications.enable_endpoint(merchant_id, id).await?;
                let webhook_endpoint = Some(convert::webhook_endpoint(endpoint));
                Ok(EnableWebhookEndpointResponse { webhook_endpoint })
            })
            .await
    }
}
