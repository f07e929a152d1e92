//! The one place where errors become statuses.

use tael_grpc::status;
use tonic::Status;

use crate::usecase::AuditError;

impl From<AuditError> for Status {
    fn from(error: AuditError) -> Self {
        match &error {
            AuditError::Peer(cause) => status::unavailable(cause.peer, &error),
            AuditError::Database(cause) => tael_postgres::status(cause),
            AuditError::Calendar(_) => status::broken_invariant(&error),
        }
    }
}
