//! The order and payment services as the refund service sees them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tael_ids::{AttemptId, MerchantId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{Event, Payload, PaymentRefundFailed, PaymentRefunded};
use tael_proto::order::v1::{
    GetPayableOrderRequest, GetPayableOrderResponse, PayableOrder, ReserveVoucherUsesRequest,
    ReserveVoucherUsesResponse,
};
use tael_proto::payment::v1::refund_execution_service_server::{
    RefundExecutionService, RefundExecutionServiceServer,
};
use tael_proto::payment::v1::{
    self as payment, Failure, PaymentRefund, PaymentRefundState, RefundPaymentRequest, RefundPaymentResponse,
};
use tael_testkit::{Answer as Scripted, ScriptedLog, ScriptedServer};
use tokio::net::TcpListener;
use tokio::sync::Notify;
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

const GET_ORDER: &str = "tael.order.v1.OrderService/GetPayableOrder";
pub(crate) const RESERVE: &str = "tael.order.v1.VoucherService/ReserveVoucherUses";

/// Holds orders, and sets uses of vouchers aside.
#[derive(Clone, Debug)]
pub(crate) struct FakeOrders {
    orders: Arc<Mutex<HashMap<(String, String), PayableOrder>>>,
    pub(crate) server: ScriptedServer,
}

impl FakeOrders {
    pub(crate) async fn start() -> Self {
        let fake = Self { orders: Arc::default(), server: ScriptedServer::start().await };
        let orders = fake.orders.clone();
        let get = Scripted::by(move |request: Request<GetPayableOrderRequest>| {
            let request = request.into_inner();
            let order = orders.lock().unwrap().get(&(request.merchant_id, request.order_id)).cloned();
            async move {
                let order = order.ok_or_else(|| Status::not_found("no such order"))?;
                Ok(GetPayableOrderResponse { order: Some(order) })
            }
        });
        fake.server.on(GET_ORDER, get);
        let reserve = Scripted::by(|_: Request<ReserveVoucherUsesRequest>| async {
            Ok(ReserveVoucherUsesResponse::default())
        });
        fake.server.on(RESERVE, reserve);
        fake
    }

    pub(crate) fn put(&self, order: PayableOrder) {
        let key = (order.merchant_id.clone(), order.order_id.clone());
        self.orders.lock().unwrap().insert(key, order);
    }

    /// What was asked to be set aside.
    pub(crate) fn reservations(&self) -> Vec<ReserveVoucherUsesRequest> {
        self.server.calls(RESERVE).into_iter().map(|call| call.message).collect()
    }
}

/// What the payment service does when it is asked for a refund.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Succeeded,
    Pending,
    Failed(&'static str),
    Error(Status),
    /// Answers when the gate is opened, then as the inner answer says.
    Gated(Arc<Notify>, Box<Answer>),
}

/// Executes refunds as it is told to, and serves a log.
#[derive(Clone)]
pub(crate) struct FakePayments {
    /// The answer to give when no other is queued.
    usual: Arc<Mutex<Answer>>,
    queued: Arc<Mutex<Vec<Answer>>>,
    pub(crate) calls: Arc<Mutex<Vec<RefundPaymentRequest>>>,
    pub(crate) log: FakeLog,
}

impl FakePayments {
    pub(crate) fn new(usual: Answer) -> Self {
        Self {
            usual: Arc::new(Mutex::new(usual)),
            queued: Arc::default(),
            calls: Arc::default(),
            log: FakeLog::default(),
        }
    }

    pub(crate) async fn start(&self) -> String {
        serve(Routes::new(RefundExecutionServiceServer::new(self.clone())).add_service(self.log.0.server()))
            .await
    }

    pub(crate) fn usually(&self, answer: Answer) {
        *self.usual.lock().unwrap() = answer;
    }

    /// Gives this answer next, before the usual one.
    pub(crate) fn next(&self, answer: Answer) {
        self.queued.lock().unwrap().insert(0, answer);
    }

    pub(crate) fn calls(&self) -> Vec<RefundPaymentRequest> {
        self.calls.lock().unwrap().clone()
    }
}

/// The log of the payment service.
#[derive(Clone, Default)]
pub(crate) struct FakeLog(ScriptedLog);

impl FakeLog {
    pub(crate) fn append(&self, merchant_id: &str, aggregate_id: &str, kind: Kind) {
        self.0.append(Event {
            merchant_id: merchant_id.to_owned(),
            aggregate_id: aggregate_id.to_owned(),
            occur_time: Some(prost_types::Timestamp { seconds: 1_772_000_000, nanos: 0 }),
            payload: Some(Payload { kind: Some(kind) }),
            ..Event::default()
        });
    }

    pub(crate) fn refunded(&self, refund: &tael_proto::refund::v1::Refund) {
        let event = PaymentRefunded {
            payment_id: refund.payment_id.clone(),
            order_id: refund.order_id.clone(),
            refund_id: refund.refund_id.clone(),
            attempt_id: AttemptId::new().to_string(),
            amount: refund.amount.clone(),
            refunded_total: refund.amount.clone(),
            payment_amount: refund.amount.clone(),
            channel: 1,
            ..PaymentRefunded::default()
        };
        self.append(&refund.merchant_id, &refund.payment_id, Kind::PaymentRefunded(event));
    }

    pub(crate) fn refund_failed(&self, refund: &tael_proto::refund::v1::Refund, reason: &str) {
        let event = PaymentRefundFailed {
            payment_id: refund.payment_id.clone(),
            refund_id: refund.refund_id.clone(),
            amount: refund.amount.clone(),
            reason: reason.to_owned(),
        };
        self.append(&refund.merchant_id, &refund.payment_id, Kind::PaymentRefundFailed(event));
    }

    /// Waits until the service has applied everything that was appended.
    pub(crate) async fn consumed(&self) {
        self.0.consumed().await;
    }

    /// An event that concerns no refund, to see that it blocks nothing.
    pub(crate) fn noise(&self) {
        let closed = tael_proto::event::v1::PaymentClosed {
            payment_id: "p".into(),
            order_id: "o".into(),
            ..Default::default()
        };
        self.append(&MerchantId::new().to_string(), "p", Kind::PaymentClosed(closed));
    }
}

fn answered(
    request: &RefundPaymentRequest,
    state: PaymentRefundState,
    reason: Option<&str>,
) -> RefundPaymentResponse {
    RefundPaymentResponse {
        refund: Some(PaymentRefund {
            refund_id: request.refund_id.clone(),
            payment_id: request.payment_id.clone(),
            amount: request.amount.clone(),
            state: state.into(),
            failure: reason.map(|r| Failure { reason: r.to_owned(), channel_code: "ACQ.X".to_owned() }),
            create_time: None,
            refund_time: None,
        }),
    }
}

type Reply<T> = Result<Response<T>, Status>;

fn not_here<T>() -> Reply<T> {
    Err(Status::unimplemented("not part of this test"))
}

#[tonic::async_trait]
impl RefundExecutionService for FakePayments {
    async fn refund_payment(&self, request: Request<RefundPaymentRequest>) -> Reply<RefundPaymentResponse> {
        let key = request.metadata().get("idempotency-key").map(|k| k.to_str().unwrap().to_owned());
        let request = request.into_inner();
        assert_eq!(key.as_deref(), Some(request.refund_id.as_str()));
        self.calls.lock().unwrap().push(request.clone());
        let queued = self.queued.lock().unwrap().pop();
        let mut answer = queued.unwrap_or_else(|| self.usual.lock().unwrap().clone());
        if let Answer::Gated(gate, then) = answer {
            gate.notified().await;
            answer = *then;
        }
        match answer {
            Answer::Succeeded => Ok(answered(&request, PaymentRefundState::Succeeded, None)),
            Answer::Pending => Ok(answered(&request, PaymentRefundState::Pending, None)),
            Answer::Failed(reason) => Ok(answered(&request, PaymentRefundState::Failed, Some(reason))),
            Answer::Error(status) => Err(status),
            Answer::Gated(..) => panic!("one gate is enough"),
        }
        .map(Response::new)
    }

    async fn get_payment_refund(
        &self,
        _: Request<payment::GetPaymentRefundRequest>,
    ) -> Reply<payment::GetPaymentRefundResponse> {
        not_here()
    }
}
