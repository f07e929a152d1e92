//! Errors with documented reasons, as `google.rpc.ErrorInfo` and `google.rpc.BadRequest`.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use tael_ids::EventId;
use tael_proto::r#type::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

/// The domain of the reasons that any service may give.
pub const SHARED_DOMAIN: &str = "tael";

/// Makes an error with a reason of an `ErrorReason` enum: `name` is the value's `as_str_name()`, `domain` the one
/// that the enum's comment states, the metadata those that the value's comment lists.
pub fn error(
    code: Code,
    domain: &str,
    name: &str,
    message: impl Into<String>,
    metadata: impl IntoIterator<Item = (&'static str, String)>,
) -> Status {
    let reason = name.strip_prefix("ERROR_REASON_").unwrap_or(name);
    let metadata: HashMap<String, String> = metadata.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, domain, metadata))
}

/// Returns a code's name as the gRPC specification writes it, for example `NOT_FOUND`.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Says whether a code tells of a fault. All others are answers: a refusal is the server's work well done.
///
/// It is the rule of <https://opentelemetry.io/docs/specs/semconv/rpc/grpc/> for servers. For clients that says that any
/// code but `OK` is an error; ours follow the servers, for a refusal is no more of a fault to who hears it.
pub(crate) fn is_fault(code: Code) -> bool {
    match code {
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => false,
    }
}

/// Makes an `INVALID_ARGUMENT` that names each bad field.
pub fn invalid(violations: Vec<FieldViolation>) -> Status {
    let message =
        violations.iter().map(|v| format!("{} {}", v.field, v.description)).collect::<Vec<_>>().join("; ");
    Status::with_error_details(Code::InvalidArgument, message, ErrorDetails::with_bad_request(violations))
}

/// Makes an `INVALID_ARGUMENT` that names one bad field.
pub fn invalid_field(field: impl Into<String>, description: impl Into<String>) -> Status {
    invalid(vec![FieldViolation::new(field, description)])
}

/// Makes a `NOT_FOUND` for a merchant who does not exist, or is not the caller's.
pub fn merchant_not_found(merchant_id: &str) -> Status {
    error(
        Code::NotFound,
        SHARED_DOMAIN,
        ErrorReason::MerchantNotFound.as_str_name(),
        "there is no such merchant",
        [("merchant_id", merchant_id.to_owned())],
    )
}

/// Makes an `INTERNAL` for something that must not be. The cause goes to the log, the caller gets an incident id.
pub fn broken_invariant(cause: &dyn Error) -> Status {
    let incident = EventId::new().channel_number();
    tracing::error!(%incident, error = %Chain(cause), "a broken invariant");
    error(
        Code::Internal,
        SHARED_DOMAIN,
        ErrorReason::BrokenInvariant.as_str_name(),
        format!("internal error, incident {incident}"),
        [("incident", incident)],
    )
}

/// Makes an `UNAVAILABLE` for a dependency that did not answer. The cause goes to the log only.
pub fn unavailable(dependency: &'static str, cause: &dyn Error) -> Status {
    tracing::warn!(dependency, error = %Chain(cause), "a dependency is unavailable");
    error(
        Code::Unavailable,
        SHARED_DOMAIN,
        ErrorReason::DependencyUnavailable.as_str_name(),
        format!("{dependency} is unavailable, call again"),
        [("dependency", dependency.to_owned())],
    )
}

/// Makes an `UNAVAILABLE` for a dependency that is known not to answer and is left alone for a time, told as
/// `google.rpc.RetryInfo`. Nothing was done.
pub fn unavailable_for(dependency: &'static str, retry_after: Duration) -> Status {
    let metadata = HashMap::from([("dependency".to_owned(), dependency.to_owned())]);
    let name = ErrorReason::DependencyUnavailable.as_str_name();
    let reason = name.strip_prefix("ERROR_REASON_").unwrap_or(name);
    let mut details = ErrorDetails::with_error_info(reason, SHARED_DOMAIN, metadata);
    details.set_retry_info(Some(retry_after));
    let message = format!("{dependency} is unavailable, call again in {} seconds", retry_after.as_secs() + 1);
    Status::with_error_details(Code::Unavailable, message, details)
}

/// Returns the `ErrorInfo` reason of an error, as a client reads it.
pub fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// Returns a value of an error's `ErrorInfo` metadata, as a client reads it.
pub fn metadata(status: &Status, key: &str) -> Option<String> {
    status.get_details_error_info()?.metadata.remove(key)
}

/// Returns the names of the bad fields of an error, as a client reads them.
pub fn bad_fields(status: &Status) -> Vec<String> {
    status
        .get_details_bad_request()
        .map(|details| details.field_violations.into_iter().map(|v| v.field).collect())
        .unwrap_or_default()
}

/// An error with all its sources, for logs.
pub struct Chain<'a>(pub &'a dyn Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
