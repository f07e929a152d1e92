//! Orders.

use tael_grpc::caller::Caller;
use tael_idempotency::Call;
use tael_proto::order::v1::order_service_server::OrderService;
use tael_proto::order::v1::{
    CancelOrderRequest, CancelOrderResponse, CreateOrderRequest, CreateOrderResponse, GetOrderRequest,
    GetOrderResponse, GetPayableOrderRequest, GetPayableOrderResponse, ListOrdersRequest, ListOrdersResponse,
};
use tonic::{Request, Response, Status};

use super::{Rpc, convert, parse};
use crate::contact;

#[tonic::async_trait]
impl OrderService for Rpc {
    async fn create_order(
        &self,
        request: Request<CreateOrderRequest>,
    ) -> Result<Response<CreateOrderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let new = parse::create_order(&request)?;
        let call = Call::new(&new.merchant_id, "CreateOrder", &metadata, &request)?;
        let orders = self.orders.clone();
        // The answer is recorded without the contact, which must not lie in Redis. A call that is answered from there is
        // equal to the first one, and so is its contact.
        let contact = new.contact.clone();
        let mut response = self
            .idempotency
            .run(call, move |key| async move {
                let details = orders.create(new, key).await?;
                tael_telemetry::record("tael.order_id", details.order.id);
                Ok(CreateOrderResponse { order: Some(convert::order(details)) })
            })
            .await?;
        if let Some(order) = &mut response.get_mut().order {
            order.contact = contact.map(contact::to_wire);
        }
        Ok(response)
    }

    async fn get_order(
        &self,
        request: Request<GetOrderRequest>,
    ) -> Result<Response<GetOrderResponse>, Status> {
        let caller = Caller::of(&request);
        let request = request.into_inner();
        let (merchant_id, order_id) = parse::order(&request.merchant_id, &request.order_id)?;
        let mut order = convert::order(self.orders.get(merchant_id, order_id).await?);
        if request.with_contact {
            // Before it is read: no reading goes unwritten.
            let caller = caller.map_or("not known", Caller::name);
            tracing::info!(caller, tael.merchant_id = %merchant_id, tael.order_id = %order_id, "a buyer's contact is read");
            order.contact = self.orders.contact(merchant_id, order_id).await?.map(contact::to_wire);
        }
        Ok(Response::new(GetOrderResponse { order: Some(order) }))
    }

    async fn get_payable_order(
        &self,
        request: Request<GetPayableOrderRequest>,
    ) -> Result<Response<GetPayableOrderResponse>, Status> {
        let request = request.into_inner();
        let (merchant_id, order_id) = parse::order(&request.merchant_id, &request.order_id)?;
        let order = self.orders.get(merchant_id, order_id).await?;
        Ok(Response::new(GetPayableOrderResponse { order: Some(convert::payable_order(order)) }))
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        let (filter, page) = parse::list_orders(&request.into_inner())?;
        let rows = self.orders.list(&filter, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |details| details.order.id.uuid());
        let orders = rows.into_iter().map(convert::order).collect();
        Ok(Response::new(ListOrdersResponse { orders, next_page_token }))
    }

    async fn cancel_order(
        &self,
        request: Request<CancelOrderRequest>,
    ) -> Result<Response<CancelOrderResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, order_id) = parse::order(&request.merchant_id, &request.order_id)?;
        let call = Call::new(&merchant_id, "CancelOrder", &metadata, &request)?;
        let orders = self.orders.clone();
        // What is recorded is that it was done. The order is read anew.
        let mut response = self
            .idempotency
            .run(call, move |_| async move {
                orders.cancel(merchant_id, order_id).await?;
                Ok(CancelOrderResponse::default())
            })
            .await?;
        response.get_mut().order = Some(convert::order(self.orders.get(merchant_id, order_id).await?));
        Ok(response)
    }
}
