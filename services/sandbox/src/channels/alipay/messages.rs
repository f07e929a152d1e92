//! What control says about Alipay alone: how an app is registered.

use serde::{Deserialize, Serialize};

use super::charset::Charset;
use crate::control::Fault;

/// `POST /control/alipay/accounts`: registers a merchant's app, or gives a registered one a new key.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisterApp {
    /// Up to 32 letters and digits; generated if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// The seller's PID, 16 digits from 2088; generated if missing. Several apps may share a seller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seller_id: Option<String>,
    /// The app's RSA public key (at least 2048 bits), as PEM or as base64 of its DER form.
    pub public_key: String,
    /// The share of each payment that Alipay keeps, such as `0.006`; the sandbox's default if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_rate: Option<String>,
    /// The character set of the app's notifications; if missing, that of the call that made the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_charset: Option<Charset>,
    /// Whether the app is notified of trades that close without money (as products like H5 and app payments are); not if
    /// missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_closed: Option<bool>,
}

impl RegisterApp {
    /// A new app of a new seller with this public key.
    pub fn new(public_key: impl Into<String>) -> Self {
        Self { public_key: public_key.into(), ..Self::default() }
    }
}

/// A registered app. For control, its account is the `app_id` and its merchant the `seller_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppView {
    /// The app's id, to be sent with every call.
    pub app_id: String,
    /// The seller's PID, 16 digits from 2088, as notifications name it.
    pub seller_id: String,
    /// Alipay's public key, base64 of its SubjectPublicKeyInfo: verifies answers and notifications.
    pub alipay_public_key: String,
    /// Where calls go.
    pub gateway_url: String,
    /// The share of each payment that Alipay keeps.
    pub fee_rate: String,
}

/// The call is refused with 40004 / `ACQ.SYSTEM_ERROR` without doing anything: an unknown result, in Alipay's words.
pub fn system_error() -> Fault {
    Fault::refusal("40004", "ACQ.SYSTEM_ERROR")
}
