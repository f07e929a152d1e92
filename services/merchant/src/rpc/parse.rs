//! Requests become domain values.

use tael_grpc::fields::Fields;
use tael_grpc::status;
use tael_ids::{ApiKeyId, MerchantId};
use tael_proto::merchant::v1::{IssueApiKeyRequest, RegisterMerchantRequest, RevokeApiKeyRequest};
use tonic::Status;

use crate::domain::api_key::Secret;

const DEFAULT_TIME_ZONE: &str = "Asia/Shanghai";

/// Reads the name and the time zone of a new merchant.
pub(super) fn registration(request: &RegisterMerchantRequest) -> Result<(String, String), Status> {
    let mut fields = Fields::default();
    let name = fields.text("name", &request.name, 1..=128);
    let time_zone = time_zone(&mut fields, &request.time_zone);
    fields.finish(|| Some((name?, time_zone?)))
}

fn time_zone(fields: &mut Fields, name: &str) -> Option<String> {
    let name = if name.is_empty() { DEFAULT_TIME_ZONE } else { name };
    if jiff::tz::TimeZone::get(name).is_err() {
        return fields.bad("time_zone", "is not an IANA time zone");
    }
    Some(name.to_owned())
}

pub(super) fn merchant_id(text: &str) -> Result<MerchantId, Status> {
    let mut fields = Fields::default();
    let id = fields.id("merchant_id", text);
    fields.finish(|| id)
}

/// Reads whose key is asked for, and its label.
pub(super) fn issue_api_key(request: &IssueApiKeyRequest) -> Result<(MerchantId, String), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let label = fields.text("label", &request.label, 0..=64);
    fields.finish(|| Some((merchant_id?, label?)))
}

pub(super) fn secret(text: String) -> Result<Secret, Status> {
    if text.is_empty() {
        return Err(status::invalid_field("secret", "is missing"));
    }
    Ok(Secret::shown(text))
}

pub(super) fn revoke_api_key(request: &RevokeApiKeyRequest) -> Result<(MerchantId, ApiKeyId), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let key_id = fields.id("api_key_id", &request.api_key_id);
    fields.finish(|| Some((merchant_id?, key_id?)))
}
