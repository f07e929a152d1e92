//! Errors go on the wire, each with its documented reason.

use tael_grpc::status;
use tael_ids::MerchantId;
use tael_proto::merchant::v1::ErrorReason;
use tonic::{Code, Status};

use crate::usecase::{ApiKeyError, MerchantError};

const DOMAIN: &str = "tael.merchant";

impl From<MerchantError> for Status {
    fn from(error: MerchantError) -> Self {
        match &error {
            MerchantError::NotFound(id) => merchant_not_found(*id),
            MerchantError::KeyReused(key) => key.conflict(),
            MerchantError::RowVanished => status::broken_invariant(&error),
            MerchantError::Database(e) => tael_postgres::status(e),
        }
    }
}

impl From<ApiKeyError> for Status {
    fn from(error: ApiKeyError) -> Self {
        match &error {
            ApiKeyError::MerchantNotFound(id) => merchant_not_found(*id),
            ApiKeyError::NotFound(id) => status::error(
                Code::NotFound,
                DOMAIN,
                ErrorReason::ApiKeyNotFound.as_str_name(),
                error.to_string(),
                [("api_key_id", id.to_string())],
            ),
            ApiKeyError::Invalid => {
                let reason = ErrorReason::ApiKeyInvalid.as_str_name();
                status::error(Code::Unauthenticated, DOMAIN, reason, error.to_string(), [])
            }
            ApiKeyError::KeyReused(key) => key.conflict(),
            ApiKeyError::RowVanished | ApiKeyError::Token(_) | ApiKeyError::Randomness(_) => {
                status::broken_invariant(&error)
            }
            ApiKeyError::Database(e) => tael_postgres::status(e),
        }
    }
}

fn merchant_not_found(id: MerchantId) -> Status {
    status::error(
        Code::NotFound,
        DOMAIN,
        ErrorReason::MerchantNotFound.as_str_name(),
        format!("there is no merchant {id}"),
        [("merchant_id", id.to_string())],
    )
}
