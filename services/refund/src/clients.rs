//! The services that are asked: order and payment.

use jiff::Timestamp;
use tael_grpc::client::Channel;
use tael_grpc::retry::{Budget, repeat};
use tael_grpc::{convert, status};
use tael_ids::{LineId, MerchantId, OrderId, PaymentId, RefundId};
use tael_money::{Currency, Money};
use tael_proto::order::v1::order_service_client::OrderServiceClient;
use tael_proto::order::v1::{GetOrderRequest, Order, OrderState};
use tael_proto::payment::v1::payment_service_client::PaymentServiceClient;
use tael_proto::payment::v1::{ErrorReason, PaymentRefund, PaymentRefundState, RefundPaymentRequest};
use tael_proto::r#type::v1 as wire;
use tonic::{Code, Request, Status};

use crate::domain::{Outcome, Refund};

/// Calls to both, repeated when they could not be taken. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    orders: OrderServiceClient<Channel>,
    order_budget: Budget,
    payments: PaymentServiceClient<Channel>,
    payment_budget: Budget,
}

/// What matters of an order that was paid.
#[derive(Clone, Debug)]
pub(crate) struct PaidOrder {
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    /// The payment that paid it.
    pub(crate) payment_id: PaymentId,
    pub(crate) total: Money,
    pub(crate) pay_time: Timestamp,
    pub(crate) lines: Vec<PaidLine>,
}

/// A line of a paid order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaidLine {
    pub(crate) line_id: LineId,
    pub(crate) quantity: u32,
    /// What was paid for it.
    pub(crate) total: Money,
}

/// Why a paid order could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    /// The merchant has no such order.
    #[error("the merchant has no such order")]
    NotFound,
    /// It was not paid.
    #[error("the order was not paid")]
    NotPaid {
        /// Its state.
        state: &'static str,
    },
    /// The order service did not answer.
    #[error("the order service did not answer")]
    Unavailable(#[source] Status),
    /// The answer can't be.
    #[error("the order service's answer has no valid {0}")]
    Malformed(&'static str),
}

impl Clients {
    pub(crate) fn new(order: Channel, payment: Channel) -> Self {
        Self {
            orders: OrderServiceClient::new(order),
            order_budget: Budget::default(),
            payments: PaymentServiceClient::new(payment),
            payment_budget: Budget::default(),
        }
    }

    /// Gets an order that was paid.
    pub(crate) async fn paid_order(
        &self,
        merchant_id: MerchantId,
        order_id: OrderId,
    ) -> Result<PaidOrder, OrderError> {
        let request =
            GetOrderRequest { merchant_id: merchant_id.to_string(), order_id: order_id.to_string() };
        let answer = repeat(&self.order_budget, || {
            let (mut orders, request) = (self.orders.clone(), request.clone());
            async move { orders.get_order(request).await }
        });
        let answer = answer.await.map_err(|status| match status.code() {
            Code::NotFound => OrderError::NotFound,
            _ => OrderError::Unavailable(status),
        })?;
        let order = answer.into_inner().order.ok_or(OrderError::Malformed("order"))?;
        read_order(merchant_id, order_id, &order)
    }

    /// Asks the payment service to refund. None is no final answer: the refund may have happened or may still happen,
    /// and is to be asked for again under its id.
    pub(crate) async fn refund_payment(&self, instruction: &Instruction) -> Option<Outcome> {
        let answer = repeat(&self.payment_budget, || {
            let (mut payments, request) = (self.payments.clone(), instruction.request());
            async move { payments.refund_payment(request).await }
        });
        match answer.await {
            Ok(answer) => answer.into_inner().refund.as_ref().and_then(read_refund),
            Err(status) => {
                let outcome = read_refusal(&status);
                if outcome.is_none() {
                    tracing::warn!(tael.refund_id = %instruction.refund_id, code = ?status.code(), "the refund's outcome is not known");
                }
                outcome
            }
        }
    }
}

fn read_order(merchant_id: MerchantId, order_id: OrderId, order: &Order) -> Result<PaidOrder, OrderError> {
    match order.state() {
        OrderState::Paid => {}
        state @ (OrderState::Unspecified
        | OrderState::PendingPayment
        | OrderState::Cancelled
        | OrderState::Expired) => {
            let name = state.as_str_name();
            return Err(OrderError::NotPaid { state: name.strip_prefix("ORDER_STATE_").unwrap_or(name) });
        }
    }
    let pay_time = order
        .pay_time
        .and_then(|t| Timestamp::new(t.seconds, t.nanos).ok())
        .ok_or(OrderError::Malformed("pay_time"))?;
    let total = order.price.as_ref().and_then(|price| money(price.total.as_ref()));
    let lines = order.lines.iter().map(|line| {
        Ok(PaidLine {
            line_id: line.line_id.parse().map_err(|_| OrderError::Malformed("lines.line_id"))?,
            quantity: line.quantity,
            total: money(line.total.as_ref()).ok_or(OrderError::Malformed("lines.total"))?,
        })
    });
    Ok(PaidOrder {
        merchant_id,
        order_id,
        payment_id: order.payment_id.parse().map_err(|_| OrderError::Malformed("payment_id"))?,
        total: total.ok_or(OrderError::Malformed("price.total"))?,
        pay_time,
        lines: lines.collect::<Result<_, OrderError>>()?,
    })
}

fn money(money: Option<&wire::Money>) -> Option<Money> {
    let money = money?;
    Some(Money::new(money.minor, Currency::parse(&money.currency).ok()?))
}

/// What the payment service is told to refund.
#[derive(Clone, Debug)]
pub(crate) struct Instruction {
    pub(crate) merchant_id: MerchantId,
    pub(crate) refund_id: RefundId,
    pub(crate) payment_id: PaymentId,
    pub(crate) amount: Money,
    pub(crate) reason: String,
    /// How many calls gave no final answer so far.
    pub(crate) tries: u32,
}

impl Instruction {
    /// The first instruction for a refund.
    pub(crate) fn first(refund: &Refund) -> Self {
        Self {
            merchant_id: refund.merchant_id,
            refund_id: refund.id,
            payment_id: refund.payment_id,
            amount: refund.amount,
            reason: refund.reason.clone(),
            tries: 0,
        }
    }

    fn request(&self) -> Request<RefundPaymentRequest> {
        let refund_id = self.refund_id.to_string();
        let key = refund_id.parse().expect("an id is visible ASCII");
        let mut request = Request::new(RefundPaymentRequest {
            merchant_id: self.merchant_id.to_string(),
            payment_id: self.payment_id.to_string(),
            refund_id,
            amount: Some(convert::money(self.amount)),
            reason: self.reason.clone(),
        });
        request.metadata_mut().insert("idempotency-key", key);
        request
    }
}

fn read_refund(refund: &PaymentRefund) -> Option<Outcome> {
    match refund.state() {
        PaymentRefundState::Succeeded => Some(Outcome::Succeeded),
        PaymentRefundState::Failed => {
            let reason = refund.failure.as_ref().map_or("DECLINED", |f| f.reason.as_str());
            Some(Outcome::Failed(reason.to_owned()))
        }
        PaymentRefundState::Pending | PaymentRefundState::Unspecified => None,
    }
}

/// Only an answer by which the payment service itself says that it did nothing is a failure.
fn read_refusal(error: &Status) -> Option<Outcome> {
    if error.code() == Code::InvalidArgument {
        return Some(Outcome::Failed("INVALID_REQUEST".to_owned()));
    }
    let reason = status::reason(error)?;
    let final_reasons =
        [ErrorReason::PaymentNotFound, ErrorReason::PaymentState, ErrorReason::RefundExceedsPayment];
    let is_final =
        final_reasons.iter().any(|r| r.as_str_name().strip_prefix("ERROR_REASON_") == Some(&reason));
    is_final.then_some(Outcome::Failed(reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payment_error(code: Code, reason: ErrorReason) -> Status {
        status::error(code, "tael.payment", reason.as_str_name(), "no", [])
    }

    #[test]
    fn only_a_refusal_by_the_payment_service_is_final() {
        let failed = |reason: &str| Some(Outcome::Failed(reason.to_owned()));
        let exceeds = payment_error(Code::FailedPrecondition, ErrorReason::RefundExceedsPayment);
        for (status, expected) in [
            (exceeds, failed("REFUND_EXCEEDS_PAYMENT")),
            (payment_error(Code::FailedPrecondition, ErrorReason::PaymentState), failed("PAYMENT_STATE")),
            (payment_error(Code::NotFound, ErrorReason::PaymentNotFound), failed("PAYMENT_NOT_FOUND")),
            (status::invalid_field("reason", "is too long"), failed("INVALID_REQUEST")),
            (Status::not_found("no such route"), None),
            (Status::failed_precondition("by somebody in between"), None),
            (Status::unavailable("connection refused"), None),
            (Status::deadline_exceeded("too late"), None),
            (Status::internal("a bug"), None),
            (Status::aborted("in progress"), None),
        ] {
            assert_eq!(read_refusal(&status), expected, "{status:?}");
        }
    }
}
