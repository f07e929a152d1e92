//! What makes two calls the same.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prost::Message;
use sha2::{Digest as _, Sha256};
use tael_grpc::status;
use tael_proto::r#type::v1::ErrorReason;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

const HEADER: &str = "idempotency-key";
const MAX_LEN: usize = 128;

/// A call that moves something: who calls what, under which key, with which request.
#[derive(Clone, Debug)]
pub struct Call {
    pub(crate) redis_key: String,
    /// Under which what its caller has recorded is counted.
    pub(crate) usage_key: String,
    pub(crate) method: &'static str,
    guard: IdempotencyKey,
    /// Reasons as on the wire, for example "ORDER_NOT_PAID".
    retryable_reasons: Vec<&'static str>,
    /// How long its work takes to an answer, at the least.
    needed: Duration,
}

/// What the database remembers of a call beside its effect: columns `idempotency_key` and `fingerprint`.
#[derive(Clone, Debug)]
pub struct IdempotencyKey {
    /// The caller's key.
    pub key: String,
    /// SHA-256 of the method and the request.
    pub fingerprint: Vec<u8>,
    /// Whether the effect of an earlier call was found; clones know it as well.
    found: Arc<AtomicBool>,
}

impl PartialEq for IdempotencyKey {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.fingerprint == other.fingerprint
    }
}

impl Eq for IdempotencyKey {}

impl Call {
    /// Reads the key of a request. `caller` is the merchant, or "operator"; `method` names the rpc. The key must be
    /// 1 to 128 visible ASCII characters in the metadata `idempotency-key`.
    pub fn new(
        caller: &impl Display,
        method: &'static str,
        metadata: &MetadataMap,
        request: &impl Message,
    ) -> Result<Self, Status> {
        let key = metadata
            .get(HEADER)
            .ok_or_else(|| status::invalid_field(HEADER, "is missing in the metadata"))?
            .to_str()
            .ok()
            .filter(|key| (1..=MAX_LEN).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic()))
            .ok_or_else(|| status::invalid_field(HEADER, "must be 1 to 128 visible ASCII characters"))?;
        Ok(Self::with_key(caller, method, key, request))
    }

    /// Makes a call whose key is part of the request itself.
    pub fn with_key(caller: &impl Display, method: &'static str, key: &str, request: &impl Message) -> Self {
        let mut hash = Sha256::new();
        hash.update(method.as_bytes());
        hash.update([0]);
        hash.update(request.encode_to_vec());
        Self {
            redis_key: format!("tael:idempotency:{caller}:{method}:{key}"),
            usage_key: format!("tael:idempotency:{caller}:bytes"),
            method,
            guard: IdempotencyKey {
                key: key.to_owned(),
                fingerprint: hash.finalize().to_vec(),
                found: Arc::default(),
            },
            needed: Duration::ZERO,
            retryable_reasons: Vec::new(),
        }
    }

    /// Names refusals of this call that may pass by themselves, by their reason: values of the service's `ErrorReason`,
    /// as `as_str_name()` gives them. They are not remembered, so that a repetition tries again.
    ///
    /// For those only that are final by their code and yet not for long: "not paid" to who has seen the payment succeed
    /// before the order service has heard of it.
    #[must_use]
    pub fn retryable_reasons(mut self, reasons: impl IntoIterator<Item = &'static str>) -> Self {
        self.retryable_reasons.extend(reasons.into_iter().map(reason_on_the_wire));
        self
    }

    /// Says how long the work takes to an answer at the least. A call with less time left is refused before its work
    /// begins (`DEADLINE_TOO_SHORT`): it would be cut off in the middle, as while a channel is asked for a payment, and leave
    /// its effect in doubt. A recorded answer is given however little time there is.
    #[must_use]
    pub fn needs(mut self, least: Duration) -> Self {
        self.needed = least;
        self
    }

    pub(crate) fn needed(&self) -> Duration {
        self.needed
    }

    /// Returns what the database is to remember.
    pub fn guard(&self) -> IdempotencyKey {
        self.guard.clone()
    }

    pub(crate) fn fingerprint(&self) -> &[u8] {
        &self.guard.fingerprint
    }

    /// Whether a refusal is for good, and so the answer to every repetition: by its code, unless its reason was named
    /// as one that may pass. The codes are those that gRPC says are not to be retried as things stand, but not
    /// UNAUTHENTICATED, as credentials are no part of the request.
    /// <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>
    pub(crate) fn is_final(&self, refusal: &Status) -> bool {
        match refusal.code() {
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented => {}
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
            | Code::Unauthenticated => return false,
        }
        // A conflict that only the database knows of: remembered under this call's fingerprint it would turn away the
        // request that the key was first used with.
        let conflict = reason_on_the_wire(ErrorReason::IdempotencyKeyReused.as_str_name());
        status::reason(refusal)
            .is_none_or(|reason| reason != conflict && !self.retryable_reasons.contains(&reason.as_str()))
    }
}

fn reason_on_the_wire(name: &'static str) -> &'static str {
    name.strip_prefix("ERROR_REASON_").unwrap_or(name)
}

impl IdempotencyKey {
    /// Says whether the effect that was found under the key is this request's, by the fingerprint stored with it. If so, an
    /// earlier call made it, and this one's answer is marked as replayed.
    pub fn matches(&self, stored: &[u8]) -> bool {
        let matches = stored == self.fingerprint;
        if matches {
            self.found.store(true, Ordering::Relaxed);
        }
        matches
    }

    /// Whether the effect of an earlier call was found.
    pub(crate) fn was_found(&self) -> bool {
        self.found.load(Ordering::Relaxed)
    }

    /// The error for a key that was used with another request.
    pub fn conflict(&self) -> Status {
        status::error(
            Code::AlreadyExists,
            status::SHARED_DOMAIN,
            ErrorReason::IdempotencyKeyReused.as_str_name(),
            "this idempotency key was used with another request",
            [("idempotency_key", self.key.clone())],
        )
    }
}

#[cfg(test)]
mod tests {
    use tael_proto::r#type::v1::Money;

    use super::*;

    const FINAL: [Code; 7] = [
        Code::InvalidArgument,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::FailedPrecondition,
        Code::OutOfRange,
        Code::Unimplemented,
    ];

    fn call() -> Call {
        Call::with_key(&"tester", "Do", "k", &Money::default())
    }

    #[test]
    fn a_code_says_whether_a_refusal_is_final() {
        for code in (0..17).map(Code::from_i32) {
            assert_eq!(call().is_final(&Status::new(code, "no")), FINAL.contains(&code), "{code:?}");
            let with_reason = status::error(code, "tael.test", "ERROR_REASON_SOME", "no", []);
            assert_eq!(call().is_final(&with_reason), FINAL.contains(&code), "{code:?}");
        }
    }

    #[test]
    fn a_refusal_that_was_said_to_pass_is_not_final() {
        let call = call().retryable_reasons(["ERROR_REASON_ORDER_NOT_PAID", "NOTHING_TO_SETTLE"]);
        for (reason, is_final) in
            [("ERROR_REASON_ORDER_NOT_PAID", false), ("NOTHING_TO_SETTLE", false), ("ORDER_STATE", true)]
        {
            let refusal = status::error(Code::FailedPrecondition, "tael.test", reason, "no", []);
            assert_eq!(call.is_final(&refusal), is_final, "{reason}");
        }
    }

    #[test]
    fn a_conflict_that_the_database_found_is_not_final() {
        assert!(!call().is_final(&call().guard().conflict()));
    }
}
