//! What a caller is told when a use case did not do its work.

use tael_grpc::status;
use tael_ids::PaymentId;
use tael_proto::payment::v1::ErrorReason;
use tonic::{Code, Status};

use crate::accounts::OpenError;
use crate::channel::BillError;
use crate::clients::ClientError;
use crate::usecase::Error;

const DOMAIN: &str = "tael.payment";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let reason = |code: Code, reason: ErrorReason, metadata: Vec<(&'static str, String)>| {
            status::error(code, DOMAIN, reason.as_str_name(), message, metadata)
        };
        match &error {
            Error::PaymentNotFound(id) => {
                reason(Code::NotFound, ErrorReason::PaymentNotFound, vec![("payment_id", id.to_string())])
            }
            Error::PaymentState { payment_id, state } => reason(
                Code::FailedPrecondition,
                ErrorReason::PaymentState,
                vec![("payment_id", payment_id.to_string()), ("state", state.to_uppercase())],
            ),
            Error::OrderNotFound(id) => {
                reason(Code::NotFound, ErrorReason::OrderNotFound, vec![("order_id", id.to_string())])
            }
            Error::OrderState { order_id, state } => reason(
                Code::FailedPrecondition,
                ErrorReason::OrderState,
                vec![("order_id", order_id.to_string()), ("state", (*state).to_owned())],
            ),
            Error::OrderHasActivePayment { payment_id } => reason(
                Code::FailedPrecondition,
                ErrorReason::OrderHasActivePayment,
                vec![("payment_id", payment_id.as_ref().map(PaymentId::to_string).unwrap_or_default())],
            ),
            Error::MerchantNotApproved(id) => reason(
                Code::FailedPrecondition,
                ErrorReason::MerchantNotApproved,
                vec![("merchant_id", id.to_string())],
            ),
            Error::NoChannelAccount => {
                reason(Code::FailedPrecondition, ErrorReason::NoChannelAccount, Vec::new())
            }
            Error::ChannelAccountNotFound(id) => reason(
                Code::NotFound,
                ErrorReason::ChannelAccountNotFound,
                vec![("channel_account_id", id.to_string())],
            ),
            Error::RefundExceedsPayment { payment_id, refundable_minor } => reason(
                Code::FailedPrecondition,
                ErrorReason::RefundExceedsPayment,
                vec![
                    ("payment_id", payment_id.to_string()),
                    ("refundable_minor", refundable_minor.to_string()),
                ],
            ),
            Error::RefundCurrency => {
                status::invalid_field("amount.currency", "must be the payment's currency")
            }
            Error::RefundNotFound(id) => {
                reason(Code::NotFound, ErrorReason::RefundNotFound, vec![("refund_id", id.to_string())])
            }
            Error::BillNotAvailable(day) => reason(
                Code::FailedPrecondition,
                ErrorReason::BillNotAvailable,
                vec![("bill_date", day.to_string())],
            ),
            Error::Bill(bill) => match bill {
                BillError::NotAvailable | BillError::Unavailable(_) => status::unavailable("channel", bill),
                BillError::Broken(_) => status::broken_invariant(bill),
            },
            Error::KeyReused(status) => status.clone(),
            Error::Peer(ClientError::Unavailable(peer, source)) => status::unavailable(peer, source),
            Error::Peer(malformed @ ClientError::Malformed(..)) => status::broken_invariant(malformed),
            Error::ChannelUnavailable { retry_after } => status::unavailable_for("channel", *retry_after),
            Error::Account(open) => match &**open {
                OpenError::Database(database) => tael_postgres::status(database),
                OpenError::NotFound(_) | OpenError::Sealed(_) | OpenError::Keys(_) => {
                    status::broken_invariant(&error)
                }
            },
            Error::RowVanished | Error::Interrupted(_) => status::broken_invariant(&error),
            Error::Database(database) => tael_postgres::status(database),
        }
    }
}
