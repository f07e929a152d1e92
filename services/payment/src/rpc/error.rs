//! What a caller is told when a use case did not do its work: one match per aggregate.

use tael_grpc::status;
use tael_ids::{AttemptDecisionId, PaymentId};
use tael_proto::payment::v1::ErrorReason;
use tael_proto::r#type::v1::ErrorReason as SharedReason;
use tonic::{Code, Status};

use crate::accounts::OpenError;
use crate::channel::StatementFailure;
use crate::clients::ClientError;
use crate::usecase::{
    AttemptDecisionError, ChannelAccountError, Internal, PaymentError, RefundExecutionError, StatementError,
};

const DOMAIN: &str = "tael.payment";

fn refuse(
    code: Code,
    reason: ErrorReason,
    error: &impl std::fmt::Display,
    metadata: impl IntoIterator<Item = (&'static str, String)>,
) -> Status {
    status::error(code, DOMAIN, reason.as_str_name(), error.to_string(), metadata)
}

impl From<PaymentError> for Status {
    fn from(error: PaymentError) -> Self {
        use ErrorReason as Reason;
        let precondition = Code::FailedPrecondition;
        match &error {
            PaymentError::NotFound(id) => {
                refuse(Code::NotFound, Reason::PaymentNotFound, &error, [("payment_id", id.to_string())])
            }
            PaymentError::OrderNotFound(id) => {
                refuse(Code::NotFound, Reason::OrderNotFound, &error, [("order_id", id.to_string())])
            }
            PaymentError::OrderState { order_id, state } => refuse(
                precondition,
                Reason::OrderState,
                &error,
                [("order_id", order_id.to_string()), ("state", (*state).to_owned())],
            ),
            PaymentError::OrderHasActivePayment { payment_id } => {
                let payment_id = payment_id.as_ref().map(PaymentId::to_string).unwrap_or_default();
                refuse(precondition, Reason::OrderHasActivePayment, &error, [("payment_id", payment_id)])
            }
            PaymentError::MerchantNotApproved(id) => {
                refuse(precondition, Reason::MerchantNotApproved, &error, [("merchant_id", id.to_string())])
            }
            PaymentError::NoChannelAccount => refuse(precondition, Reason::NoChannelAccount, &error, []),
            PaymentError::ChannelUnavailable { retry_after } => {
                status::unavailable_for("channel", *retry_after)
            }
            PaymentError::KeyReused(key) => key.conflict(),
            PaymentError::Peer(ClientError::Unavailable(peer, source)) => status::unavailable(peer, source),
            PaymentError::Peer(malformed @ ClientError::Malformed(..)) => status::broken_invariant(malformed),
            PaymentError::Internal(internal) => internal_status(internal),
        }
    }
}

impl From<RefundExecutionError> for Status {
    fn from(error: RefundExecutionError) -> Self {
        use ErrorReason as Reason;
        match &error {
            RefundExecutionError::NotFound(id) => {
                refuse(Code::NotFound, Reason::RefundNotFound, &error, [("refund_id", id.to_string())])
            }
            RefundExecutionError::PaymentNotFound(id) => {
                refuse(Code::NotFound, Reason::PaymentNotFound, &error, [("payment_id", id.to_string())])
            }
            RefundExecutionError::PaymentState { payment_id, state } => refuse(
                Code::FailedPrecondition,
                Reason::PaymentState,
                &error,
                [("payment_id", payment_id.to_string()), ("state", (*state).to_owned())],
            ),
            RefundExecutionError::ExceedsPayment { payment_id, refundable_minor } => refuse(
                Code::FailedPrecondition,
                Reason::RefundExceedsPayment,
                &error,
                [("payment_id", payment_id.to_string()), ("refundable_minor", refundable_minor.to_string())],
            ),
            RefundExecutionError::Currency => {
                status::invalid_field("amount.currency", "must be the payment's currency")
            }
            RefundExecutionError::MustBeWhole(id) => refuse(
                Code::FailedPrecondition,
                Reason::RefundMustBeWhole,
                &error,
                [("payment_id", id.to_string())],
            ),
            RefundExecutionError::IdReused(id) => status::error(
                Code::AlreadyExists,
                status::SHARED_DOMAIN,
                SharedReason::IdempotencyKeyReused.as_str_name(),
                error.to_string(),
                [("idempotency_key", id.to_string())],
            ),
            RefundExecutionError::Internal(internal) => internal_status(internal),
        }
    }
}

impl From<ChannelAccountError> for Status {
    fn from(error: ChannelAccountError) -> Self {
        match &error {
            ChannelAccountError::NotFound(id) => refuse(
                Code::NotFound,
                ErrorReason::ChannelAccountNotFound,
                &error,
                [("channel_account_id", id.to_string())],
            ),
            ChannelAccountError::NotTested(id) => refuse(
                Code::FailedPrecondition,
                ErrorReason::ChannelAccountNotTested,
                &error,
                [("channel_account_id", id.to_string())],
            ),
            ChannelAccountError::CredentialNotFound(id) => refuse(
                Code::NotFound,
                ErrorReason::ChannelCredentialNotFound,
                &error,
                [("channel_credential_id", id.to_string())],
            ),
            ChannelAccountError::LastCredential(id) => refuse(
                Code::FailedPrecondition,
                ErrorReason::LastChannelCredential,
                &error,
                [("channel_credential_id", id.to_string())],
            ),
            ChannelAccountError::OtherChannel => {
                status::invalid_field("keys", "must be of the account's channel")
            }
            ChannelAccountError::KeyReused(key) => key.conflict(),
            ChannelAccountError::Internal(internal) => internal_status(internal),
        }
    }
}

impl From<AttemptDecisionError> for Status {
    fn from(error: AttemptDecisionError) -> Self {
        use ErrorReason as Reason;
        let precondition = Code::FailedPrecondition;
        let id_of = |id: &AttemptDecisionId| [("attempt_decision_id", id.to_string())];
        match error {
            AttemptDecisionError::NotFound(ref id) => {
                refuse(Code::NotFound, Reason::AttemptDecisionNotFound, &error, id_of(id))
            }
            AttemptDecisionError::AttemptNotFound(ref id) => {
                refuse(Code::NotFound, Reason::AttemptNotFound, &error, [("attempt_id", id.to_string())])
            }
            AttemptDecisionError::NotInDoubt(ref id) => {
                refuse(precondition, Reason::AttemptNotInDoubt, &error, [("attempt_id", id.to_string())])
            }
            AttemptDecisionError::Made(ref id) => {
                refuse(precondition, Reason::AttemptDecisionMade, &error, id_of(id))
            }
            AttemptDecisionError::SamePerson(ref operator) => {
                refuse(precondition, Reason::SecondPersonNeeded, &error, [("operator", operator.clone())])
            }
            AttemptDecisionError::Payment(error) => error.into(),
            AttemptDecisionError::Internal(internal) => internal_status(&internal),
        }
    }
}

impl From<StatementError> for Status {
    fn from(error: StatementError) -> Self {
        match error {
            StatementError::ChannelAccount(error) => error.into(),
            StatementError::NotAvailable(day) => refuse(
                Code::FailedPrecondition,
                ErrorReason::StatementNotAvailable,
                &StatementError::NotAvailable(day),
                [("statement_date", day.to_string())],
            ),
            StatementError::Channel(failure) => match failure {
                StatementFailure::NotAvailable | StatementFailure::Unavailable(_) => {
                    status::unavailable("channel", &failure)
                }
                // The channel's doing and no fault of ours; what is asked again will be answered the same.
                StatementFailure::Refused(_) => refuse(
                    Code::FailedPrecondition,
                    ErrorReason::StatementRefused,
                    &failure,
                    [("problem", failure.to_string())],
                ),
                StatementFailure::Broken(_) => refuse(
                    Code::FailedPrecondition,
                    ErrorReason::StatementUnusable,
                    &failure,
                    [("problem", failure.to_string())],
                ),
            },
            StatementError::Internal(internal) => internal_status(&internal),
        }
    }
}

impl From<Internal> for Status {
    fn from(error: Internal) -> Self {
        internal_status(&error)
    }
}

fn internal_status(error: &Internal) -> Status {
    match error {
        Internal::Account(open) => match &**open {
            OpenError::Database(database) => tael_postgres::status(database),
            OpenError::NotFound(_)
            | OpenError::NoCredential(_)
            | OpenError::UnknownChannel(_)
            | OpenError::Sealed(_)
            | OpenError::CannotOpen(_) => status::broken_invariant(error),
        },
        Internal::RowVanished | Internal::Amount(_) | Internal::Interrupted(_) => {
            status::broken_invariant(error)
        }
        Internal::Database(database) => tael_postgres::status(database),
    }
}
