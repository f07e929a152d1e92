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

// An error travels in HTTP/2 headers: its message percent-encoded, up to three bytes for one, and its details, which
// repeat the message, in base64. Clients on gRPC's C core (grpcio and others) take 8 KiB of headers and turn an answer
// with more into RESOURCE_EXHAUSTED. With these bounds an error has less than 7 KiB.
/// The most bytes of bad fields in an error's details.
const MAX_DETAILS: usize = 2560;
/// The most bytes of an error's message.
const MAX_MESSAGE: usize = 512;
/// The most bytes of a value that an error repeats, and of what is wrong with a field.
const MAX_VALUE: usize = 256;
/// The most bytes of a field's name.
const MAX_NAME: usize = 128;

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
    let metadata: HashMap<String, String> =
        metadata.into_iter().map(|(name, value)| (name.to_owned(), clipped(value, MAX_VALUE))).collect();
    let details = ErrorDetails::with_error_info(reason, domain, metadata);
    Status::with_error_details(code, clipped(message.into(), MAX_MESSAGE), details)
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

/// Makes an `INVALID_ARGUMENT` for bad fields. Each is said once: the first in the message, with the number of the others,
/// and as many as there is room for in the details, the first ones first.
pub fn invalid(violations: Vec<FieldViolation>) -> Status {
    let count = violations.len();
    let first = violations.first().map(|v| format!("{} {}", v.field, v.description)).unwrap_or_default();
    let mut room = MAX_DETAILS;
    let told: Vec<_> = violations
        .into_iter()
        .map(|v| FieldViolation::new(clipped(v.field, MAX_NAME), clipped(v.description, MAX_VALUE)))
        .take_while(|v| {
            // As Protobuf writes it, at most: two strings with tag and length, in a message with both.
            let size = v.field.len() + v.description.len() + 12;
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        })
        .collect();
    let first = clipped(first, MAX_VALUE);
    let message = match (count.saturating_sub(1), told.len()) {
        (0, _) => first,
        (1, _) => format!("{first}, and 1 more field is bad"),
        (others, told) if told == count => format!("{first}, and {others} more fields are bad"),
        (others, told) => {
            format!("{first}, and {others} more fields are bad; the details name the first {told}")
        }
    };
    Status::with_error_details(Code::InvalidArgument, message, ErrorDetails::with_bad_request(told))
}

/// Shortens a text that came from outside, so that the error which repeats it stays small.
fn clipped(text: String, most: usize) -> String {
    if text.len() <= most {
        return text;
    }
    format!("{}…", &text[..text.floor_char_boundary(most - '…'.len_utf8())])
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
