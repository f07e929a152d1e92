//! A payment service that answers what a test tells it to, and remembers what it was asked.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tael_grpc::server::{Limits, Readiness, bind};
use tael_proto::payment::v1::callback_service_server::{CallbackService, CallbackServiceServer};
use tael_proto::payment::v1::payment_service_server::{PaymentService, PaymentServiceServer};
use tael_proto::payment::v1::*;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

/// It serves until it is dropped.
pub(crate) struct Payment {
    pub(crate) script: Arc<Script>,
    addr: SocketAddr,
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

/// What it answers and was asked.
#[derive(Debug)]
pub(crate) struct Script {
    answer: Mutex<Result<HandleCallbackResponse, Status>>,
    notifications: Mutex<Vec<HandleCallbackRequest>>,
    checkouts: Mutex<HashMap<String, Result<GetCheckoutResponse, Status>>>,
    /// A call needs a place to be answered; a test that takes them all away holds the answers back.
    pub(crate) places: Semaphore,
}

impl Payment {
    pub(crate) async fn start() -> Self {
        let script = Arc::new(Script {
            answer: Mutex::new(Err(Status::unimplemented("the test gave no answer"))),
            notifications: Mutex::default(),
            checkouts: Mutex::default(),
            places: Semaphore::new(100),
        });
        let bound = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Limits::default()).await.unwrap();
        let addr = bound.addr();
        let stop = CancellationToken::new();
        let routes = Routes::new(PaymentServiceServer::new(Fake(Arc::clone(&script))))
            .add_service(CallbackServiceServer::new(Fake(Arc::clone(&script))));
        let stopped = stop.clone().cancelled_owned();
        let serving = tokio::spawn(async move {
            bound.serve(routes, Readiness::default(), stopped).await.unwrap();
        });
        Self { script, addr, stop, serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// From now on nobody is there.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        (&mut self.serving).await.unwrap();
    }
}

impl Drop for Payment {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Script {
    pub(crate) fn answer(&self, status: u32, content_type: &str, body: &[u8]) {
        let reply = HandleCallbackResponse {
            status,
            content_type: content_type.to_owned(),
            body: body.to_owned().into(),
        };
        *self.answer.lock().unwrap() = Ok(reply);
    }

    pub(crate) fn refuse(&self, status: Status) {
        *self.answer.lock().unwrap() = Err(status);
    }

    pub(crate) fn notifications(&self) -> Vec<HandleCallbackRequest> {
        self.notifications.lock().unwrap().clone()
    }

    pub(crate) fn checkout(&self, payment_id: &str, reply: Result<GetCheckoutResponse, Status>) {
        self.checkouts.lock().unwrap().insert(payment_id.to_owned(), reply);
    }
}

struct Fake(Arc<Script>);

#[tonic::async_trait]
impl CallbackService for Fake {
    async fn handle_callback(
        &self,
        request: Request<HandleCallbackRequest>,
    ) -> Result<Response<HandleCallbackResponse>, Status> {
        self.0.notifications.lock().unwrap().push(request.into_inner());
        let _place = self.0.places.acquire().await.unwrap();
        self.0.answer.lock().unwrap().clone().map(Response::new)
    }
}

#[tonic::async_trait]
impl PaymentService for Fake {
    async fn get_checkout(
        &self,
        request: Request<GetCheckoutRequest>,
    ) -> Result<Response<GetCheckoutResponse>, Status> {
        let _place = self.0.places.acquire().await.unwrap();
        let id = request.into_inner().payment_id;
        let reply = self.0.checkouts.lock().unwrap().get(&id).cloned();
        reply.unwrap_or_else(|| Err(Status::not_found("no such payment"))).map(Response::new)
    }

    // What follows is not for the gateway.

    async fn create_payment(
        &self,
        _: Request<CreatePaymentRequest>,
    ) -> Result<Response<CreatePaymentResponse>, Status> {
        Err(not_for_the_gateway())
    }

    async fn get_payment(
        &self,
        _: Request<GetPaymentRequest>,
    ) -> Result<Response<GetPaymentResponse>, Status> {
        Err(not_for_the_gateway())
    }

    async fn list_payments(
        &self,
        _: Request<ListPaymentsRequest>,
    ) -> Result<Response<ListPaymentsResponse>, Status> {
        Err(not_for_the_gateway())
    }

    async fn sync_payment(
        &self,
        _: Request<SyncPaymentRequest>,
    ) -> Result<Response<SyncPaymentResponse>, Status> {
        Err(not_for_the_gateway())
    }

    async fn close_payment(
        &self,
        _: Request<ClosePaymentRequest>,
    ) -> Result<Response<ClosePaymentResponse>, Status> {
        Err(not_for_the_gateway())
    }
}

fn not_for_the_gateway() -> Status {
    Status::permission_denied("not for the gateway")
}
