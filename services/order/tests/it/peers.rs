//! Fakes of the services that the order service talks to.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use tael_grpc::server::{Limits, Readiness, bind};
use tael_ids::{MerchantId, PaymentId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{Event, Payload};
use tael_proto::payment::v1::payment_service_server::{PaymentService, PaymentServiceServer};
use tael_proto::payment::v1::refund_execution_service_server::{
    RefundExecutionService, RefundExecutionServiceServer,
};
use tael_proto::payment::v1::{
    ClosePaymentRequest, ClosePaymentResponse, CreatePaymentRequest, CreatePaymentResponse, ErrorReason,
    Failure, GetCheckoutRequest, GetCheckoutResponse, GetPaymentRefundRequest, GetPaymentRefundResponse,
    GetPaymentRequest, GetPaymentResponse, ListPaymentsRequest, ListPaymentsResponse, Payment, PaymentRefund,
    PaymentRefundState, PaymentState, RefundPaymentRequest, RefundPaymentResponse, SyncPaymentRequest,
    SyncPaymentResponse,
};
use tael_proto::r#type::v1::Money;
use tael_testkit::ScriptedLog;
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

use crate::fixture::cny;

/// The log of a service that is not there.
#[derive(Clone, Default)]
pub(crate) struct FakeLog(ScriptedLog);

impl FakeLog {
    /// Appends an event that belongs to the trace `traceparent`.
    pub(crate) fn push_traced(&self, merchant_id: MerchantId, kind: Kind, traceparent: &str) -> Event {
        self.0.append(Event { traceparent: traceparent.to_owned(), ..event(merchant_id, kind) })
    }

    pub(crate) fn push(&self, merchant_id: MerchantId, kind: Kind) -> Event {
        self.0.append(event(merchant_id, kind))
    }

    /// Appends several events that are read in one batch.
    pub(crate) fn push_all(&self, merchant_id: MerchantId, kinds: impl IntoIterator<Item = Kind>) {
        self.0.append_all(kinds.into_iter().map(|kind| event(merchant_id, kind)));
    }

    /// Serves the log alone, and returns its address.
    pub(crate) async fn serve(&self) -> String {
        serve(Routes::new(self.0.server())).await
    }
}

fn event(merchant_id: MerchantId, kind: Kind) -> Event {
    Event {
        merchant_id: merchant_id.to_string(),
        payload: Some(Payload { kind: Some(kind) }),
        ..Event::default()
    }
}

/// What the payment service answers to `ClosePayment`.
#[derive(Clone, Debug)]
pub(crate) enum OnClose {
    /// The payment is in this state afterwards.
    Becomes(PaymentState),
    /// The payer had paid, and the channel gave this much back.
    GivesBack(Money),
    /// The call fails.
    Fails,
    /// The payment is closed, and the answer is lost.
    LosesAnswer,
}

/// What becomes of a call of `RefundPayment`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum OnRefund {
    /// The channel gave no clear answer.
    StaysPending,
    /// The channel refuses for good.
    Fails,
    /// Nothing can be reserved.
    Exceeds,
    /// The money moves, and the answer is lost.
    LosesAnswer,
    /// The call fails, and nobody knows what was done: nothing.
    Breaks,
}

/// A payment service whose payments a test decides on.
#[derive(Clone, Default)]
pub(crate) struct FakePayments {
    pub(crate) log: FakeLog,
    known: Arc<Mutex<Vec<Payment>>>,
    on_close: Arc<Mutex<VecDeque<OnClose>>>,
    closed: Arc<Mutex<Vec<(String, String)>>>,
    on_refund: Arc<Mutex<VecDeque<OnRefund>>>,
    refunds: Arc<Mutex<HashMap<String, PaymentRefund>>>,
    refund_calls: Arc<Mutex<Vec<RefundPaymentRequest>>>,
}

impl FakePayments {
    /// Serves payments and log, and returns the address.
    pub(crate) async fn serve(&self) -> String {
        serve(
            Routes::new(PaymentServiceServer::new(self.clone()))
                .add_service(RefundExecutionServiceServer::new(self.clone()))
                .add_service(self.log.0.server()),
        )
        .await
    }

    /// Gives an order of 30.00 CNY a payment in a state, of which nothing was given back.
    pub(crate) fn add(&self, order_id: &str, state: PaymentState) -> PaymentId {
        let id = PaymentId::new();
        self.known.lock().unwrap().push(Payment {
            payment_id: id.to_string(),
            order_id: order_id.to_owned(),
            amount: Some(cny(3_000)),
            refunded: Some(cny(0)),
            state: state.into(),
            ..Payment::default()
        });
        id
    }

    /// Gives an order a payment that succeeded and of which this much was given back.
    pub(crate) fn add_refunded(&self, order_id: &str, amount: Money, refunded: Money) {
        self.known.lock().unwrap().push(Payment {
            payment_id: PaymentId::new().to_string(),
            order_id: order_id.to_owned(),
            amount: Some(amount),
            refunded: Some(refunded),
            state: PaymentState::Succeeded.into(),
            ..Payment::default()
        });
    }

    /// Decides on the answer to the next close that has none yet; without, closing succeeds.
    pub(crate) fn on_next_close(&self, answer: OnClose) {
        self.on_close.lock().unwrap().push_back(answer);
    }

    /// Decides on the next call for a refund that has not ended; without, the money moves.
    pub(crate) fn on_next_refund(&self, answer: OnRefund) {
        self.on_refund.lock().unwrap().push_back(answer);
    }

    /// The calls for refunds so far.
    pub(crate) fn refund_calls(&self) -> Vec<RefundPaymentRequest> {
        self.refund_calls.lock().unwrap().clone()
    }

    /// The refunds that moved money.
    pub(crate) fn moved(&self) -> Vec<PaymentRefund> {
        let refunds = self.refunds.lock().unwrap();
        refunds.values().filter(|r| r.state() == PaymentRefundState::Succeeded).cloned().collect()
    }

    /// The payments that were to be closed so far, each with the call's idempotency key.
    pub(crate) fn closed(&self) -> Vec<(String, String)> {
        self.closed.lock().unwrap().clone()
    }
}

async fn serve(routes: Routes) -> String {
    let bound = bind("127.0.0.1:0".parse().unwrap(), Limits::default()).await.unwrap();
    let url = format!("http://{}", bound.addr());
    tokio::spawn(bound.serve(routes, Readiness::default(), std::future::pending()));
    url
}

fn not_faked<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("the order service has no need of this"))
}

#[tonic::async_trait]
impl PaymentService for FakePayments {
    async fn list_payments(
        &self,
        request: Request<ListPaymentsRequest>,
    ) -> Result<Response<ListPaymentsResponse>, Status> {
        let order_id = request.into_inner().order_id;
        let known = self.known.lock().unwrap();
        let payments = known.iter().rev().filter(|p| p.order_id == order_id).cloned().collect();
        Ok(Response::new(ListPaymentsResponse { payments, next_page_token: String::new() }))
    }

    async fn close_payment(
        &self,
        request: Request<ClosePaymentRequest>,
    ) -> Result<Response<ClosePaymentResponse>, Status> {
        let key = request.metadata().get("idempotency-key").expect("a key").to_str().unwrap().to_owned();
        let id = request.into_inner().payment_id;
        self.closed.lock().unwrap().push((id.clone(), key));
        let answer = self.on_close.lock().unwrap().pop_front();
        let lost = matches!(answer, Some(OnClose::LosesAnswer));
        let (state, given_back) = match answer {
            None | Some(OnClose::LosesAnswer) => (PaymentState::Closed, None),
            Some(OnClose::Becomes(state)) => (state, None),
            Some(OnClose::GivesBack(money)) => (PaymentState::Succeeded, Some(money)),
            Some(OnClose::Fails) => return Err(Status::internal("as the test wants it")),
        };
        let mut known = self.known.lock().unwrap();
        let payment = known.iter_mut().find(|p| p.payment_id == id).expect("only payments that were listed");
        payment.set_state(state);
        if given_back.is_some() {
            payment.refunded = given_back;
        }
        if lost {
            return Err(Status::unavailable("the connection was lost"));
        }
        Ok(Response::new(ClosePaymentResponse { payment: Some(payment.clone()) }))
    }

    async fn create_payment(
        &self,
        _: Request<CreatePaymentRequest>,
    ) -> Result<Response<CreatePaymentResponse>, Status> {
        not_faked()
    }

    async fn get_payment(
        &self,
        _: Request<GetPaymentRequest>,
    ) -> Result<Response<GetPaymentResponse>, Status> {
        not_faked()
    }

    async fn sync_payment(
        &self,
        _: Request<SyncPaymentRequest>,
    ) -> Result<Response<SyncPaymentResponse>, Status> {
        not_faked()
    }

    async fn get_checkout(
        &self,
        _: Request<GetCheckoutRequest>,
    ) -> Result<Response<GetCheckoutResponse>, Status> {
        not_faked()
    }
}

#[tonic::async_trait]
impl RefundExecutionService for FakePayments {
    async fn refund_payment(
        &self,
        request: Request<RefundPaymentRequest>,
    ) -> Result<Response<RefundPaymentResponse>, Status> {
        let key = request.metadata().get("idempotency-key").expect("a key").to_str().unwrap().to_owned();
        let request = request.into_inner();
        assert_eq!(key, request.refund_id);
        self.refund_calls.lock().unwrap().push(request.clone());
        let mut refunds = self.refunds.lock().unwrap();
        let refund = refunds.get(&request.refund_id).cloned().unwrap_or_else(|| PaymentRefund {
            refund_id: request.refund_id.clone(),
            payment_id: request.payment_id.clone(),
            amount: request.amount.clone(),
            state: PaymentRefundState::Pending.into(),
            ..PaymentRefund::default()
        });
        assert_eq!((&refund.payment_id, &refund.amount), (&request.payment_id, &request.amount));
        if refund.state() != PaymentRefundState::Pending {
            return Ok(Response::new(RefundPaymentResponse { refund: Some(refund) }));
        }
        let answer = self.on_refund.lock().unwrap().pop_front();
        let (state, failure) = match answer {
            None | Some(OnRefund::LosesAnswer) => (PaymentRefundState::Succeeded, None),
            Some(OnRefund::StaysPending) => (PaymentRefundState::Pending, None),
            Some(OnRefund::Fails) => (
                PaymentRefundState::Failed,
                Some(Failure { reason: "DECLINED".into(), ..Failure::default() }),
            ),
            Some(OnRefund::Exceeds) => {
                let reason = ErrorReason::RefundExceedsPayment.as_str_name();
                let code = Code::FailedPrecondition;
                return Err(tael_grpc::status::error(code, "tael.payment", reason, "too much", []));
            }
            Some(OnRefund::Breaks) => return Err(Status::internal("as the test wants it")),
        };
        let refund = PaymentRefund { state: state.into(), failure, ..refund };
        refunds.insert(request.refund_id, refund.clone());
        match answer {
            Some(OnRefund::LosesAnswer) => Err(Status::unavailable("the connection was lost")),
            _ => Ok(Response::new(RefundPaymentResponse { refund: Some(refund) })),
        }
    }

    async fn get_payment_refund(
        &self,
        _: Request<GetPaymentRefundRequest>,
    ) -> Result<Response<GetPaymentRefundResponse>, Status> {
        not_faked()
    }
}
