//! What makes two calls the same.

use std::fmt::Display;

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
    guard: Guard,
}

/// What the database remembers of a call beside its effect: columns `idempotency_key` and `fingerprint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The caller's key.
    pub key: String,
    /// SHA-256 of the method and the request.
    pub fingerprint: Vec<u8>,
}

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
            guard: Guard { key: key.to_owned(), fingerprint: hash.finalize().to_vec() },
        }
    }

    /// Returns what the database is to remember.
    pub fn guard(&self) -> Guard {
        self.guard.clone()
    }

    pub(crate) fn fingerprint(&self) -> &[u8] {
        &self.guard.fingerprint
    }
}

impl Guard {
    /// Compares with the fingerprint stored under the same key: an error if it was another request.
    pub fn check(&self, stored: &[u8]) -> Result<(), Status> {
        if stored == self.fingerprint { Ok(()) } else { Err(self.conflict()) }
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
