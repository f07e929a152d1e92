//! Failures of use cases go on the wire.

use tael_grpc::status;
use tael_proto::notification::v1::ErrorReason;
use tonic::{Code, Status};

use crate::usecase::{DeliveryError, WebhookEndpointError};

const DOMAIN: &str = "tael.notification";

impl From<WebhookEndpointError> for Status {
    fn from(error: WebhookEndpointError) -> Self {
        match &error {
            WebhookEndpointError::NotFound(id) => status::error(
                Code::NotFound,
                DOMAIN,
                ErrorReason::WebhookEndpointNotFound.as_str_name(),
                error.to_string(),
                [("webhook_endpoint_id", id.to_string())],
            ),
            WebhookEndpointError::KeyReused(key) => key.conflict(),
            WebhookEndpointError::Secret(_)
            | WebhookEndpointError::Randomness(_)
            | WebhookEndpointError::RowVanished => status::broken_invariant(&error),
            WebhookEndpointError::Database(e) => tael_postgres::status(e),
        }
    }
}

impl From<DeliveryError> for Status {
    fn from(error: DeliveryError) -> Self {
        match &error {
            DeliveryError::NotFound(id) => status::error(
                Code::NotFound,
                DOMAIN,
                ErrorReason::DeliveryNotFound.as_str_name(),
                error.to_string(),
                [("delivery_id", id.to_string())],
            ),
            DeliveryError::KeyReused(key) => key.conflict(),
            DeliveryError::RowVanished => status::broken_invariant(&error),
            DeliveryError::Database(e) => tael_postgres::status(e),
        }
    }
}
