//! `DeliveryService`.

use tael_idempotency::{Call, Idempotency};
use tael_proto::notification::v1::delivery_service_server::DeliveryService;
use tael_proto::notification::v1::{
    GetDeliveryRequest, GetDeliveryResponse, ListDeliveriesRequest, ListDeliveriesResponse,
    ReplayDeliveryRequest, ReplayDeliveryResponse,
};
use tonic::{Request, Response, Status};

use crate::rpc::{convert, parse};
use crate::usecase::Notifications;

/// The service on the wire.
#[derive(Debug)]
pub(crate) struct DeliveryRpc {
    pub(crate) notifications: Notifications,
    pub(crate) idempotency: Idempotency,
}

#[tonic::async_trait]
impl DeliveryService for DeliveryRpc {
    async fn get_delivery(
        &self,
        request: Request<GetDeliveryRequest>,
    ) -> Result<Response<GetDeliveryResponse>, Status> {
        let request = request.into_inner();
        let (merchant_id, delivery_id) = parse::delivery(&request.merchant_id, &request.delivery_id)?;
        let delivery = self.notifications.delivery(merchant_id, delivery_id).await?;
        Ok(Response::new(GetDeliveryResponse { delivery: Some(convert::delivery(delivery)) }))
    }

    async fn list_deliveries(
        &self,
        request: Request<ListDeliveriesRequest>,
    ) -> Result<Response<ListDeliveriesResponse>, Status> {
        let (merchant_id, endpoint_id, state, page) = parse::list_deliveries(&request.into_inner())?;
        let rows = self
            .notifications
            .list_deliveries(merchant_id, endpoint_id, state, page.after, page.limit())
            .await?;
        let (rows, next_page_token) = page.cut(rows, |delivery| delivery.id.uuid());
        let deliveries = rows.into_iter().map(convert::delivery).collect();
        Ok(Response::new(ListDeliveriesResponse { deliveries, next_page_token }))
    }

    async fn replay_delivery(
        &self,
        request: Request<ReplayDeliveryRequest>,
    ) -> Result<Response<ReplayDeliveryResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, delivery_id) = parse::delivery(&request.merchant_id, &request.delivery_id)?;
        let call = Call::new(&merchant_id, "ReplayDelivery", &metadata, &request)?;
        let notifications = self.notifications.clone();
        self.idempotency
            .run(call, move |key| async move {
                let delivery = notifications.replay(merchant_id, delivery_id, key).await?;
                Ok(ReplayDeliveryResponse { delivery: Some(convert::delivery(delivery)) })
            })
            .await
    }
}
