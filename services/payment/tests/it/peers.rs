//! The order and merchant services as the payment service sees them, and the gateway as the channel sees it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use tael_grpc::client::Channel;
use tael_proto::merchant::v1::merchant_service_server::{MerchantService, MerchantServiceServer};
use tael_proto::merchant::v1::{
    self as merchant, GetMerchantRequest, GetMerchantResponse, Merchant, MerchantState,
};
use tael_proto::order::v1::order_service_server::{OrderService, OrderServiceServer};
use tael_proto::order::v1::{self as order, GetPayableOrderRequest, GetPayableOrderResponse, PayableOrder};
use tael_proto::payment::v1::HandleCallbackRequest;
use tael_proto::payment::v1::callback_service_client::CallbackServiceClient;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

async fn serve(routes: Routes) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_routes(routes)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    url
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the payment service does not call this"))
}

/// Holds orders.
#[derive(Clone, Default)]
pub(crate) struct FakeOrders(Arc<Mutex<HashMap<(String, String), PayableOrder>>>);

impl FakeOrders {
    pub(crate) async fn start(&self) -> String {
        serve(Routes::new(OrderServiceServer::new(self.clone()))).await
    }

    pub(crate) fn put(&self, order: PayableOrder) {
        let key = (order.merchant_id.clone(), order.order_id.clone());
        self.0.lock().unwrap().insert(key, order);
    }
}

#[tonic::async_trait]
impl OrderService for FakeOrders {
    async fn get_payable_order(
        &self,
        request: Request<GetPayableOrderRequest>,
    ) -> Result<Response<GetPayableOrderResponse>, Status> {
        let GetPayableOrderRequest { merchant_id, order_id } = request.into_inner();
        match self.0.lock().unwrap().get(&(merchant_id, order_id)) {
            Some(order) => Ok(Response::new(GetPayableOrderResponse { order: Some(order.clone()) })),
            None => Err(Status::not_found("no such order")),
        }
    }

    async fn get_order(
        &self,
        _: Request<order::GetOrderRequest>,
    ) -> Result<Response<order::GetOrderResponse>, Status> {
        not_here()
    }

    async fn create_order(
        &self,
        _: Request<order::CreateOrderRequest>,
    ) -> Result<Response<order::CreateOrderResponse>, Status> {
        not_here()
    }

    async fn list_orders(
        &self,
        _: Request<order::ListOrdersRequest>,
    ) -> Result<Response<order::ListOrdersResponse>, Status> {
        not_here()
    }

    async fn cancel_order(
        &self,
        _: Request<order::CancelOrderRequest>,
    ) -> Result<Response<order::CancelOrderResponse>, Status> {
        not_here()
    }
}

/// Knows which merchants are approved; others await approval.
#[derive(Clone, Default)]
pub(crate) struct FakeMerchants {
    approved: Arc<Mutex<HashSet<String>>>,
    asked: Arc<Mutex<u32>>,
}

impl FakeMerchants {
    pub(crate) async fn start(&self) -> String {
        serve(Routes::new(MerchantServiceServer::new(self.clone()))).await
    }

    pub(crate) fn approve(&self, merchant_id: &str) {
        self.approved.lock().unwrap().insert(merchant_id.to_owned());
    }

    pub(crate) fn asked(&self) -> u32 {
        *self.asked.lock().unwrap()
    }
}

#[tonic::async_trait]
impl MerchantService for FakeMerchants {
    async fn get_merchant(
        &self,
        request: Request<GetMerchantRequest>,
    ) -> Result<Response<GetMerchantResponse>, Status> {
        *self.asked.lock().unwrap() += 1;
        let merchant_id = request.into_inner().merchant_id;
        let approved = self.approved.lock().unwrap().contains(&merchant_id);
        let state = if approved { MerchantState::Approved } else { MerchantState::PendingApproval };
        let merchant = Merchant { merchant_id, state: state.into(), ..Merchant::default() };
        Ok(Response::new(GetMerchantResponse { merchant: Some(merchant) }))
    }

    async fn register_merchant(
        &self,
        _: Request<merchant::RegisterMerchantRequest>,
    ) -> Result<Response<merchant::RegisterMerchantResponse>, Status> {
        not_here()
    }

    async fn approve_merchant(
        &self,
        _: Request<merchant::ApproveMerchantRequest>,
    ) -> Result<Response<merchant::ApproveMerchantResponse>, Status> {
        not_here()
    }

    async fn list_merchants(
        &self,
        _: Request<merchant::ListMerchantsRequest>,
    ) -> Result<Response<merchant::ListMerchantsResponse>, Status> {
        not_here()
    }
}

/// Takes the channel's callbacks and hands them on, as the gateway does.
#[derive(Clone, Default)]
pub(crate) struct Relay(Arc<OnceLock<CallbackServiceClient<Channel>>>);

impl Relay {
    /// Serves at the address that is returned; callbacks are answered with an error until [`Relay::open`].
    pub(crate) async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router =
            Router::new().route("/callbacks/alipay/{account_id}", post(take)).with_state(self.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        url
    }

    pub(crate) fn open(&self, callbacks: CallbackServiceClient<Channel>) {
        self.0.set(callbacks).expect("a relay is opened once");
    }
}

async fn take(
    State(relay): State<Relay>,
    Path(account_id): Path<String>,
    body: Bytes,
) -> (StatusCode, Bytes) {
    let Some(mut callbacks) = relay.0.get().cloned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, Bytes::new());
    };
    let request = HandleCallbackRequest {
        channel: "alipay".to_owned(),
        channel_account_id: account_id,
        body,
        ..HandleCallbackRequest::default()
    };
    match callbacks.handle_callback(request).await {
        Ok(response) => {
            let told = response.into_inner();
            let status = u16::try_from(told.status).ok().and_then(|code| StatusCode::from_u16(code).ok());
            (status.unwrap_or(StatusCode::BAD_GATEWAY), told.body)
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, Bytes::new()),
    }
}
