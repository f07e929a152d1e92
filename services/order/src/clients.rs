//! The payment service, as this service needs it.

use tael_grpc::client::Channel;
use tael_grpc::convert;
use tael_grpc::retry::{Budget, repeat};
use tael_grpc::status::{self, Chain};
use tael_ids::{EventId, MerchantId, OrderId};
use tael_proto::payment::v1::payment_service_client::PaymentServiceClient;
use tael_proto::payment::v1::refund_execution_service_client::RefundExecutionServiceClient;
use tael_proto::payment::v1::{
    ClosePaymentRequest, ErrorReason, ListPaymentsRequest, Payment, PaymentRefund, PaymentRefundState,
    PaymentState, RefundPaymentRequest,
};
use tonic::{Code, Request, Status};

use crate::domain::unapplied_payment::{DueRefund, RefundOutcome};

/// What the channel shows to the payer.
const REFUND_REASON: &str = "payment not needed for the order";

/// Whether an order can still be paid, after everything was done to prevent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// No payment of the order can bring money any more, and none has brought any that stayed.
    Closed,
    /// The payer was faster.
    Paid,
    /// The channel gave no evidence yet.
    InDoubt,
}

/// The payment service did not answer, or refused.
#[derive(Debug, thiserror::Error)]
#[error("the payment service did not answer")]
pub(crate) struct PaymentUnavailable(#[source] pub(crate) Status);

/// Calls to the payment service, repeated when it could not take them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PaymentClient {
    client: PaymentServiceClient<Channel>,
    refunds: RefundExecutionServiceClient<Channel>,
    budget: Budget,
}

impl PaymentClient {
    pub(crate) fn new(channel: Channel) -> Self {
        Self {
            client: PaymentServiceClient::new(channel.clone()),
            refunds: RefundExecutionServiceClient::new(channel),
            budget: Budget::default(),
        }
    }

    /// Closes whatever could still pay the order.
    pub(crate) async fn close(
        &self,
        merchant_id: MerchantId,
        order_id: OrderId,
    ) -> Result<Closing, PaymentUnavailable> {
        // One page, the newest: the payment service starts no payment while an older one may still bring money.
        let request = ListPaymentsRequest {
            merchant_id: merchant_id.to_string(),
            order_id: order_id.to_string(),
            page_size: 100,
            page_token: String::new(),
        };
        let payments = repeat(&self.budget, || {
            let (mut client, request) = (self.client.clone(), request.clone());
            async move { client.list_payments(request).await }
        });
        let payments = payments.await.map_err(PaymentUnavailable)?.into_inner().payments;
        let mut closing = Closing::Closed;
        for payment in payments {
            let one = match payment.state() {
                PaymentState::Created | PaymentState::Pending => {
                    self.close_payment(merchant_id, payment.payment_id).await?
                }
                PaymentState::Succeeded
                | PaymentState::Closed
                | PaymentState::Failed
                | PaymentState::Unspecified => outcome(&payment),
            };
            match one {
                Closing::Paid => return Ok(Closing::Paid),
                Closing::InDoubt => closing = Closing::InDoubt,
                Closing::Closed => {}
            }
        }
        Ok(closing)
    }

    async fn close_payment(
        &self,
        merchant_id: MerchantId,
        payment_id: String,
    ) -> Result<Closing, PaymentUnavailable> {
        let message = ClosePaymentRequest { merchant_id: merchant_id.to_string(), payment_id };
        // One of its own each time that an order is given up: the answer "in doubt" must not be replayed to the next.
        let key = EventId::new().channel_number();
        let closed = repeat(&self.budget, || {
            let (mut client, request) = (self.client.clone(), keyed(&key, message.clone()));
            async move { client.close_payment(request).await }
        });
        Ok(closed
            .await
            .map_err(PaymentUnavailable)?
            .into_inner()
            .payment
            .as_ref()
            .map_or(Closing::InDoubt, outcome))
    }

    /// Asks for a refund of an unapplied payment. However often it is asked for, it moves money once. None when its outcome is
    /// not known yet.
    pub(crate) async fn refund(&self, refund: &DueRefund) -> Option<RefundOutcome> {
        let (merchant_id, _, payment_id) = refund.key;
        let message = RefundPaymentRequest {
            merchant_id: merchant_id.to_string(),
            payment_id: payment_id.to_string(),
            refund_id: refund.refund_id.to_string(),
            amount: Some(convert::money(refund.amount)),
            reason: REFUND_REASON.to_owned(),
        };
        let answer = repeat(&self.budget, || {
            let (mut client, request) = (self.refunds.clone(), keyed(&message.refund_id, message.clone()));
            async move { client.refund_payment(request).await }
        });
        match answer.await {
            Ok(answer) => answer.into_inner().refund.as_ref().and_then(refund_outcome),
            Err(status) => {
                let outcome = refusal(&status);
                if outcome.is_none() {
                    tracing::warn!(error = %Chain(&status), "the outcome of a refund of an unapplied payment is not known");
                }
                outcome
            }
        }
    }
}

fn keyed<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("idempotency-key", key.parse().expect("a key of ours is visible ASCII"));
    request
}

fn refund_outcome(refund: &PaymentRefund) -> Option<RefundOutcome> {
    match refund.state() {
        PaymentRefundState::Succeeded => Some(RefundOutcome::Refunded),
        PaymentRefundState::Failed => {
            let reason = refund.failure.as_ref().map_or("DECLINED", |failure| failure.reason.as_str());
            Some(RefundOutcome::Refused(reason.to_owned()))
        }
        PaymentRefundState::Pending | PaymentRefundState::Unspecified => None,
    }
}

/// Only an answer by which the payment service itself says that it did nothing is a refusal.
fn refusal(error: &Status) -> Option<RefundOutcome> {
    if error.code() == Code::InvalidArgument {
        return Some(RefundOutcome::Refused("INVALID_REQUEST".to_owned()));
    }
    let reason = status::reason(error)?;
    let final_reasons =
        [ErrorReason::PaymentNotFound, ErrorReason::PaymentState, ErrorReason::RefundExceedsPayment];
    let is_final =
        final_reasons.iter().any(|r| r.as_str_name().strip_prefix("ERROR_REASON_") == Some(&reason));
    is_final.then_some(RefundOutcome::Refused(reason))
}

fn outcome(payment: &Payment) -> Closing {
    match payment.state() {
        PaymentState::Closed | PaymentState::Failed => Closing::Closed,
        // The money came and went, as when the channel gives back in closing what was paid meanwhile.
        PaymentState::Succeeded if payment.amount.is_some() && payment.refunded == payment.amount => {
            Closing::Closed
        }
        PaymentState::Succeeded => Closing::Paid,
        PaymentState::Created | PaymentState::Pending | PaymentState::Unspecified => Closing::InDoubt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payment_error(code: Code, reason: ErrorReason) -> Status {
        status::error(code, "tael.payment", reason.as_str_name(), "no", [])
    }

    #[test]
    fn only_a_refusal_by_the_payment_service_is_final() {
        let refused = |reason: &str| Some(RefundOutcome::Refused(reason.to_owned()));
        let exceeds = payment_error(Code::FailedPrecondition, ErrorReason::RefundExceedsPayment);
        for (status, expected) in [
            (exceeds, refused("REFUND_EXCEEDS_PAYMENT")),
            (payment_error(Code::FailedPrecondition, ErrorReason::PaymentState), refused("PAYMENT_STATE")),
            (payment_error(Code::NotFound, ErrorReason::PaymentNotFound), refused("PAYMENT_NOT_FOUND")),
            (status::invalid_field("reason", "is too long"), refused("INVALID_REQUEST")),
            (Status::not_found("no such route"), None),
            (Status::failed_precondition("by somebody in between"), None),
            (Status::already_exists("the refund's id was used"), None),
            (Status::unavailable("connection refused"), None),
            (Status::deadline_exceeded("too late"), None),
            (Status::internal("a bug"), None),
            (Status::aborted("in progress"), None),
        ] {
            assert_eq!(refusal(&status), expected, "{status:?}");
        }
    }
}
