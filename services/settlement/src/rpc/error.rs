//! The one place where errors become statuses.

use std::error::Error;

use tael_grpc::status;
use tael_proto::settlement::v1::ErrorReason;
use tonic::{Code, Status};

use crate::clients::ClientError;
use crate::usecase::fee_schedule::FeeScheduleError;
use crate::usecase::ledger::LedgerError;
use crate::usecase::reconciliation::ReconciliationError;
use crate::usecase::settlement_batch::SettlementBatchError;

const DOMAIN: &str = "tael.settlement";

/// A refusal with this service's reason, and what it is about.
fn refusal(
    code: Code,
    error: &dyn Error,
    reason: ErrorReason,
    metadata: Option<(&'static str, String)>,
) -> Status {
    status::error(code, DOMAIN, reason.as_str_name(), error.to_string(), metadata)
}

fn not_found(error: &dyn Error, reason: ErrorReason, field: &'static str, id: &impl ToString) -> Status {
    refusal(Code::NotFound, error, reason, Some((field, id.to_string())))
}

/// What another service's failure means to the caller: `error` is the use case's.
fn peer(error: &dyn Error, cause: &ClientError) -> Status {
    match cause {
        ClientError::Failed { peer, .. } => status::unavailable(peer, error),
        // The rest has reasons of its own wherever it can happen.
        ClientError::Refused { .. }
        | ClientError::StatementRefused { .. }
        | ClientError::Malformed { .. }
        | ClientError::MerchantNotFound
        | ClientError::ChannelAccountNotFound
        | ClientError::StatementNotAvailable => status::broken_invariant(error),
    }
}

impl From<LedgerError> for Status {
    fn from(error: LedgerError) -> Self {
        match &error {
            LedgerError::Database(e) => tael_postgres::status(e),
        }
    }
}

impl From<FeeScheduleError> for Status {
    fn from(error: FeeScheduleError) -> Self {
        use FeeScheduleError as E;
        match &error {
            E::MerchantNotFound(id) => not_found(&error, ErrorReason::MerchantNotFound, "merchant_id", id),
            E::KeyReused(key) => key.conflict(),
            E::Peer(cause) => peer(&error, cause),
            E::Database(e) => tael_postgres::status(e),
            E::RowVanished => status::broken_invariant(&error),
        }
    }
}

impl From<SettlementBatchError> for Status {
    fn from(error: SettlementBatchError) -> Self {
        use SettlementBatchError as E;
        match &error {
            E::MerchantNotFound(id) => not_found(&error, ErrorReason::MerchantNotFound, "merchant_id", id),
            E::BatchNotFound(id) => not_found(&error, ErrorReason::BatchNotFound, "batch_id", id),
            E::NothingToSettle => {
                refusal(Code::FailedPrecondition, &error, ErrorReason::NothingToSettle, None)
            }
            E::KeyReused(key) => key.conflict(),
            E::Peer(cause) => peer(&error, cause),
            E::Database(e) => tael_postgres::status(e),
            E::RowVanished | E::Calendar(_) | E::Posting(_) => status::broken_invariant(&error),
        }
    }
}

impl From<ReconciliationError> for Status {
    fn from(error: ReconciliationError) -> Self {
        use ReconciliationError as E;
        match &error {
            E::ReconciliationNotFound(id) => {
                not_found(&error, ErrorReason::ReconciliationNotFound, "reconciliation_id", id)
            }
            E::ChannelAccountNotFound(id) => {
                not_found(&error, ErrorReason::ChannelAccountNotFound, "channel_account_id", id)
            }
            E::StatementNotAvailable(date) => refusal(
                Code::FailedPrecondition,
                &error,
                ErrorReason::StatementNotAvailable,
                Some(("statement_date", date.to_string())),
            ),
            E::StatementRefused { reason } => refusal(
                Code::FailedPrecondition,
                &error,
                ErrorReason::StatementRefused,
                Some(("reason", reason.to_lowercase())),
            ),
            E::KeyReused(key) => key.conflict(),
            E::Peer(cause) => peer(&error, cause),
            E::Database(e) => tael_postgres::status(e),
            E::RowVanished | E::Calendar(_) => status::broken_invariant(&error),
        }
    }
}
