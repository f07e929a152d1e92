//! Errors become statuses: one exhaustive match for each aggregate.

use tael_grpc::status;
use tael_proto::order::v1::ErrorReason;
use tonic::{Code, Status};

use crate::usecase::Failure;
use crate::usecase::order::OrderError;
use crate::usecase::promotion::PromotionError;
use crate::usecase::unapplied_payment::UnappliedPaymentError;
use crate::usecase::voucher::VoucherError;

const DOMAIN: &str = "tael.order";

/// An error of this service's own, with its documented reason and metadata.
fn error<const N: usize>(
    code: Code,
    reason: ErrorReason,
    error: &dyn std::error::Error,
    metadata: [(&'static str, String); N],
) -> Status {
    status::error(code, DOMAIN, reason.as_str_name(), error.to_string(), metadata)
}

impl From<OrderError> for Status {
    fn from(e: OrderError) -> Self {
        match &e {
            OrderError::NotFound(id) => {
                error(Code::NotFound, ErrorReason::OrderNotFound, &e, [("order_id", id.to_string())])
            }
            OrderError::State { order_id, state } => error(
                Code::FailedPrecondition,
                ErrorReason::OrderState,
                &e,
                [("order_id", order_id.to_string()), ("state", (*state).to_owned())],
            ),
            OrderError::PaymentInDoubt(id) => {
                error(Code::Aborted, ErrorReason::PaymentInDoubt, &e, [("order_id", id.to_string())])
            }
            OrderError::ReferenceReused { order_id, merchant_reference } => error(
                Code::AlreadyExists,
                ErrorReason::MerchantReferenceReused,
                &e,
                [("order_id", order_id.to_string()), ("merchant_reference", merchant_reference.clone())],
            ),
            OrderError::Payment(cause) => status::unavailable("payment", &cause.0),
            OrderError::Failure(failure) => failed(failure),
        }
    }
}

impl From<UnappliedPaymentError> for Status {
    fn from(e: UnappliedPaymentError) -> Self {
        match &e {
            UnappliedPaymentError::OrderNotFound(id) => {
                error(Code::NotFound, ErrorReason::OrderNotFound, &e, [("order_id", id.to_string())])
            }
            UnappliedPaymentError::NotFound { order_id, payment_id } => error(
                Code::NotFound,
                ErrorReason::UnappliedPaymentNotFound,
                &e,
                [("order_id", order_id.to_string()), ("payment_id", payment_id.to_string())],
            ),
            UnappliedPaymentError::State { order_id, payment_id, state } => error(
                Code::FailedPrecondition,
                ErrorReason::UnappliedPaymentState,
                &e,
                [
                    ("order_id", order_id.to_string()),
                    ("payment_id", payment_id.to_string()),
                    ("state", (*state).to_owned()),
                ],
            ),
            UnappliedPaymentError::Failure(failure) => failed(failure),
        }
    }
}

impl From<VoucherError> for Status {
    fn from(e: VoucherError) -> Self {
        match &e {
            VoucherError::NotFound => error(Code::NotFound, ErrorReason::VoucherNotFound, &e, []),
            VoucherError::UsedUp { voucher_id, uses_left } => error(
                Code::FailedPrecondition,
                ErrorReason::VoucherUsedUp,
                &e,
                [("voucher_id", voucher_id.to_string()), ("uses_left", uses_left.to_string())],
            ),
            VoucherError::OrderNotFound(id) => {
                error(Code::NotFound, ErrorReason::OrderNotFound, &e, [("order_id", id.to_string())])
            }
            VoucherError::OrderState { order_id, state } => error(
                Code::FailedPrecondition,
                ErrorReason::OrderState,
                &e,
                [("order_id", order_id.to_string()), ("state", (*state).to_owned())],
            ),
            VoucherError::Used { order_id, refund_id, uses } => error(
                Code::FailedPrecondition,
                ErrorReason::VoucherUsed,
                &e,
                [
                    ("order_id", order_id.to_string()),
                    ("refund_id", refund_id.to_string()),
                    ("line_id", uses.line_id.to_string()),
                    ("used", uses.used.to_string()),
                ],
            ),
            VoucherError::Reservation { refund_id, state } => error(
                Code::FailedPrecondition,
                ErrorReason::VoucherReservationState,
                &e,
                [("refund_id", refund_id.to_string()), ("state", (*state).to_owned())],
            ),
            VoucherError::Failure(failure) => failed(failure),
        }
    }
}

impl From<PromotionError> for Status {
    fn from(e: PromotionError) -> Self {
        match &e {
            PromotionError::NotFound(id) => {
                error(Code::NotFound, ErrorReason::PromotionNotFound, &e, [("promotion_id", id.to_string())])
            }
            PromotionError::Failure(failure) => failed(failure),
        }
    }
}

fn failed(failure: &Failure) -> Status {
    match failure {
        Failure::KeyReused(key) => key.conflict(),
        Failure::Database(e) => tael_postgres::status(e),
        Failure::RowVanished | Failure::NoRandomness(_) => status::broken_invariant(failure),
    }
}
