//! gRPC: a request becomes domain values, a use case runs, its result goes on the wire.

mod parse;
mod reply;

use tael_grpc::status;
use tael_idempotency::{Call, Idempotency};
use tael_proto::order::v1::order_service_server::OrderService;
use tael_proto::order::v1::{
    CancelOrderRequest, CancelOrderResponse, CreateOrderRequest, CreateOrderResponse, CreatePromotionRequest,
    CreatePromotionResponse, EndPromotionRequest, EndPromotionResponse, ErrorReason,
    GetLateMoneyPolicyRequest, GetLateMoneyPolicyResponse, GetOrderRequest, GetOrderResponse,
    GetVoucherRequest, GetVoucherResponse, ListHeldPaymentsRequest, ListHeldPaymentsResponse,
    ListOrdersRequest, ListOrdersResponse, ListPromotionsRequest, ListPromotionsResponse,
    RedeemVoucherRequest, RedeemVoucherResponse, ResolveHeldPaymentRequest, ResolveHeldPaymentResponse,
    SetLateMoneyPolicyRequest, SetLateMoneyPolicyResponse,
};
use tonic::{Code, Request, Response, Status};

use crate::contact;
use crate::domain::order::Order;
use crate::usecase::{Error, Orders};

const DOMAIN: &str = "tael.order";

pub(crate) struct Rpc {
    orders: Orders,
    idempotency: Idempotency,
}

impl Rpc {
    pub(crate) fn new(orders: Orders, idempotency: Idempotency) -> Self {
        Self { orders, idempotency }
    }
}

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
        // The answer is recorded without the contact, which must not lie in Redis. A call that is answered from
        // there is equal to the first one, and so is its contact.
        let contact = new.contact.clone();
        let mut response = self
            .idempotency
            .run(call, move |guard| async move {
                let order = Order { contact: None, ..orders.create(new, guard).await? };
                tael_telemetry::record("tael.order_id", order.id);
                Ok(CreateOrderResponse { order: Some(reply::order(order)) })
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
        let request = request.into_inner();
        let (merchant_id, order_id) = parse::order(&request.merchant_id, &request.order_id)?;
        let order = self.orders.get(merchant_id, order_id).await?;
        Ok(Response::new(GetOrderResponse { order: Some(reply::order(order)) }))
    }

    async fn list_orders(
        &self,
        request: Request<ListOrdersRequest>,
    ) -> Result<Response<ListOrdersResponse>, Status> {
        let (merchant_id, state, page) = parse::list_orders(&request.into_inner())?;
        let rows = self.orders.list(merchant_id, state, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |order| order.id.uuid());
        let orders = rows.into_iter().map(reply::order).collect();
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
        // What is recorded is that it was done. The order with its contact, which must not lie in Redis, is read anew.
        let mut response = self
            .idempotency
            .run(call, move |_| async move {
                orders.cancel(merchant_id, order_id).await?;
                Ok(CancelOrderResponse::default())
            })
            .await?;
        response.get_mut().order = Some(reply::order(self.orders.get(merchant_id, order_id).await?));
        Ok(response)
    }

    async fn set_late_money_policy(
        &self,
        request: Request<SetLateMoneyPolicyRequest>,
    ) -> Result<Response<SetLateMoneyPolicyResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, policy) = parse::set_policy(&request)?;
        let call = Call::new(&merchant_id, "SetLateMoneyPolicy", &metadata, &request)?;
        let orders = self.orders.clone();
        self.idempotency
            .run(call, move |guard| async move {
                let policy = orders.set_policy(merchant_id, policy, guard).await?;
                Ok(SetLateMoneyPolicyResponse { policy: Some(reply::policy(policy)) })
            })
            .await
    }

    async fn get_late_money_policy(
        &self,
        request: Request<GetLateMoneyPolicyRequest>,
    ) -> Result<Response<GetLateMoneyPolicyResponse>, Status> {
        let merchant_id = parse::merchant(&request.into_inner().merchant_id)?;
        let policy = self.orders.policy(merchant_id).await?;
        Ok(Response::new(GetLateMoneyPolicyResponse { policy: Some(reply::policy(policy)) }))
    }

    async fn list_held_payments(
        &self,
        request: Request<ListHeldPaymentsRequest>,
    ) -> Result<Response<ListHeldPaymentsResponse>, Status> {
        let (merchant_id, page) = parse::list_held_payments(&request.into_inner())?;
        let rows = self.orders.list_held(merchant_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |held| held.payment_id.uuid());
        let held_payments = rows.into_iter().map(reply::order_held_payment).collect();
        Ok(Response::new(ListHeldPaymentsResponse { held_payments, next_page_token }))
    }

    async fn resolve_held_payment(
        &self,
        request: Request<ResolveHeldPaymentRequest>,
    ) -> Result<Response<ResolveHeldPaymentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let resolve = parse::resolve_held_payment(&request)?;
        let (merchant_id, order_id) = (resolve.merchant_id, resolve.order_id);
        let call = Call::new(&merchant_id, "ResolveHeldPayment", &metadata, &request)?;
        let orders = self.orders.clone();
        // As for a cancelled order: only that it was done is recorded.
        let mut response = self
            .idempotency
            .run(call, move |_| async move {
                orders.resolve(resolve).await?;
                Ok(ResolveHeldPaymentResponse::default())
            })
            .await?;
        response.get_mut().order = Some(reply::order(self.orders.get(merchant_id, order_id).await?));
        Ok(response)
    }

    async fn create_promotion(
        &self,
        request: Request<CreatePromotionRequest>,
    ) -> Result<Response<CreatePromotionResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, name, threshold, saving) = parse::create_promotion(&request)?;
        let call = Call::new(&merchant_id, "CreatePromotion", &metadata, &request)?;
        let orders = self.orders.clone();
        self.idempotency
            .run(call, move |guard| async move {
                let promotion = orders.create_promotion(merchant_id, name, threshold, saving, guard).await?;
                Ok(CreatePromotionResponse { promotion: Some(reply::promotion(promotion)) })
            })
            .await
    }

    async fn list_promotions(
        &self,
        request: Request<ListPromotionsRequest>,
    ) -> Result<Response<ListPromotionsResponse>, Status> {
        let (merchant_id, page) = parse::list_promotions(&request.into_inner())?;
        let rows = self.orders.list_promotions(merchant_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |promotion| promotion.id.uuid());
        let promotions = rows.into_iter().map(reply::promotion).collect();
        Ok(Response::new(ListPromotionsResponse { promotions, next_page_token }))
    }

    async fn end_promotion(
        &self,
        request: Request<EndPromotionRequest>,
    ) -> Result<Response<EndPromotionResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, id) = parse::end_promotion(&request)?;
        let call = Call::new(&merchant_id, "EndPromotion", &metadata, &request)?;
        let orders = self.orders.clone();
        self.idempotency
            .run(call, move |_| async move {
                let promotion = orders.end_promotion(merchant_id, id).await?;
                Ok(EndPromotionResponse { promotion: Some(reply::promotion(promotion)) })
            })
            .await
    }

    async fn get_voucher(
        &self,
        request: Request<GetVoucherRequest>,
    ) -> Result<Response<GetVoucherResponse>, Status> {
        let (merchant_id, code) = parse::get_voucher(&request.into_inner())?;
        let voucher = self.orders.get_voucher(merchant_id, code).await?;
        tael_telemetry::record("tael.order_id", voucher.order_id);
        Ok(Response::new(GetVoucherResponse { voucher: Some(reply::voucher(&voucher)) }))
    }

    async fn redeem_voucher(
        &self,
        request: Request<RedeemVoucherRequest>,
    ) -> Result<Response<RedeemVoucherResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, new) = parse::redeem_voucher(&request)?;
        let call = Call::new(&merchant_id, "RedeemVoucher", &metadata, &request)?;
        let orders = self.orders.clone();
        self.idempotency
            .run(call, move |guard| async move {
                let made = orders.redeem(merchant_id, new, guard).await?;
                tael_telemetry::record("tael.order_id", made.voucher.order_id);
                Ok(RedeemVoucherResponse {
                    redemption_id: made.id.to_string(),
                    voucher: Some(reply::voucher(&made.voucher)),
                })
            })
            .await
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let reply = |code, reason: ErrorReason, metadata: &[(&'static str, String)]| {
            status::error(code, DOMAIN, reason.as_str_name(), message.clone(), metadata.iter().cloned())
        };
        match &error {
            Error::OrderNotFound(id) => {
                reply(Code::NotFound, ErrorReason::OrderNotFound, &[("order_id", id.to_string())])
            }
            Error::OrderState { order_id, state } => reply(
                Code::FailedPrecondition,
                ErrorReason::OrderState,
                &[("order_id", order_id.to_string()), ("state", (*state).to_owned())],
            ),
            Error::PaymentInDoubt(id) => {
                reply(Code::Aborted, ErrorReason::PaymentInDoubt, &[("order_id", id.to_string())])
            }
            Error::HeldPaymentNotFound { order_id, payment_id } => reply(
                Code::NotFound,
                ErrorReason::HeldPaymentNotFound,
                &[("order_id", order_id.to_string()), ("payment_id", payment_id.to_string())],
            ),
            Error::HeldPaymentState { order_id, payment_id, state } => reply(
                Code::FailedPrecondition,
                ErrorReason::HeldPaymentState,
                &[
                    ("order_id", order_id.to_string()),
                    ("payment_id", payment_id.to_string()),
                    ("state", (*state).to_owned()),
                ],
            ),
            Error::NothingToPay => status::invalid_field("lines", "leave nothing to pay after the discount"),
            Error::PromotionNotFound(id) => {
                reply(Code::NotFound, ErrorReason::PromotionNotFound, &[("promotion_id", id.to_string())])
            }
            Error::VoucherNotFound => reply(Code::NotFound, ErrorReason::VoucherNotFound, &[]),
            Error::VoucherUsedUp { voucher_id, uses_left } => reply(
                Code::FailedPrecondition,
                ErrorReason::VoucherUsedUp,
                &[("voucher_id", voucher_id.to_string()), ("uses_left", uses_left.to_string())],
            ),
            Error::KeyReused(status) => status.clone(),
            Error::Payment(cause) => status::unavailable("payment", cause),
            Error::Database(e) => tael_postgres::status(e),
            Error::RowVanished | Error::NoRandomness(_) => status::broken_invariant(&error),
        }
    }
}
