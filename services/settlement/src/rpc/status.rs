//! The one place where errors become statuses.

use tael_grpc::status;
use tael_proto::settlement::v1::ErrorReason;
use tonic::{Code, Status};

use crate::clients::ClientError;
use crate::usecase::Error;

const DOMAIN: &str = "tael.settlement";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let reply = |code, reason: ErrorReason, metadata: Option<(&'static str, String)>| {
            status::error(code, DOMAIN, reason.as_str_name(), message.clone(), metadata)
        };
        let not_found = |reason, field, id: String| reply(Code::NotFound, reason, Some((field, id)));
        match &error {
            Error::MerchantNotFound(id) => {
                not_found(ErrorReason::MerchantNotFound, "merchant_id", id.to_string())
            }
            Error::BatchNotFound(id) => not_found(ErrorReason::BatchNotFound, "batch_id", id.to_string()),
            Error::ReconciliationNotFound(id) => {
                not_found(ErrorReason::ReconciliationNotFound, "reconciliation_id", id.to_string())
            }
            Error::ChannelAccountNotFound(id) => {
                not_found(ErrorReason::ChannelAccountNotFound, "channel_account_id", id.to_string())
            }
            Error::NothingToSettle => reply(Code::FailedPrecondition, ErrorReason::NothingToSettle, None),
            Error::BillNotAvailable(date) => reply(
                Code::FailedPrecondition,
                ErrorReason::BillNotAvailable,
                Some(("bill_date", date.to_string())),
            ),
            Error::KeyReused(status) => status.clone(),
            Error::Database(e) => tael_postgres::status(e),
            Error::Peer(ClientError::Failed { peer, .. }) => status::unavailable(peer, &error),
            Error::Peer(
                ClientError::Malformed { .. }
                | ClientError::MerchantNotFound
                | ClientError::ChannelAccountNotFound
                | ClientError::BillNotAvailable,
            )
            | Error::RowVanished
            | Error::Calendar(_)
            | Error::Posting(_) => status::broken_invariant(&error),
        }
    }
}
