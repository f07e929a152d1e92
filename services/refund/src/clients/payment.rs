//! The payment service: it moves the money.

use tael_grpc::client::Channel;
use tael_grpc::retry::{Budget, repeat};
use tael_grpc::{convert, status};
use tael_proto::payment::v1::refund_execution_service_client::RefundExecutionServiceClient;
use tael_proto::payment::v1::{ErrorReason, PaymentRefund, PaymentRefundState, RefundPaymentRequest};
use tonic::{Code, Request, Status};

use crate::domain::{Instruction, Outcome};

/// Calls to the payment service, repeated when it could not take them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PaymentClient {
    payments: RefundExecutionServiceClient<Channel>,
    budget: Budget,
}

impl PaymentClient {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { payments: RefundExecutionServiceClient::new(channel), budget: Budget::default() }
    }

    /// Asks the payment service to refund. None is no final answer: the refund may have happened or may still happen,
    /// and is to be asked for again under its id.
    pub(crate) async fn refund_payment(&self, instruction: &Instruction) -> Option<Outcome> {
        let answer = repeat(&self.budget, || {
            let (mut payments, request) = (self.payments.clone(), request(instruction));
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

fn request(instruction: &Instruction) -> Request<RefundPaymentRequest> {
    let refund_id = instruction.refund_id.to_string();
    let key = refund_id.parse().expect("an id is visible ASCII");
    let mut request = Request::new(RefundPaymentRequest {
        merchant_id: instruction.merchant_id.to_string(),
        payment_id: instruction.payment_id.to_string(),
        refund_id,
        amount: Some(convert::money(instruction.amount)),
        reason: instruction.reason.clone(),
    });
    request.metadata_mut().insert("idempotency-key", key);
    request
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
