//! How Alipay is to be played.

use std::fmt;

use super::{money::FeeRate, sign::AlipayKey};
use crate::core::variables::Variables;

/// How Alipay is to be played.
#[derive(Clone)]
pub struct Config {
    /// Whether a statement of the current day, as far as it has come, can be asked for. The real service only has past
    /// days.
    pub current_day_statement: bool,
    /// The fee rate of apps that register without one.
    pub fee_rate: FeeRate,
    /// Alipay's private key as PEM (PKCS#8 or PKCS#1). Without it, a new RSA-2048 key is made at every start.
    pub private_key_pem: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self { current_day_statement: true, fee_rate: FeeRate::DEFAULT, private_key_pem: None }
    }
}

// By hand, so that a private key never reaches a log.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("current_day_statement", &self.current_day_statement)
            .field("fee_rate", &self.fee_rate)
            .field("private_key_pem", &self.private_key_pem.as_ref().map(|_| "set"))
            .finish()
    }
}

impl Config {
    /// Reads the `SANDBOX_ALIPAY_…` variables.
    pub(crate) fn read(variables: &mut Variables<'_>) -> Self {
        let defaults = Self::default();
        Self {
            current_day_statement: variables
                .read("SANDBOX_ALIPAY_CURRENT_DAY_STATEMENT", "true or false", |text| text.parse().ok())
                .unwrap_or(defaults.current_day_statement),
            fee_rate: variables
                .read("SANDBOX_ALIPAY_FEE_RATE", "a decimal fraction such as 0.006", |text| text.parse().ok())
                .unwrap_or(defaults.fee_rate),
            private_key_pem: variables.read(
                "SANDBOX_ALIPAY_PRIVATE_KEY",
                "an RSA private key as PEM",
                |text| AlipayKey::from_pem(text).is_ok().then(|| text.to_owned()),
            ),
        }
    }
}
