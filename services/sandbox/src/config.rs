//! Configuration: typed, and every error reported at once.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

use url::Url;

use crate::alipay::FeeRate;

/// How a sandbox is to be run. `Config::default()` is right for tests: a free port on the loopback interface.
#[derive(Clone)]
pub struct Config {
    /// Where to listen. Port 0 takes a free one, to be read back with [`App::addr`](crate::App::addr).
    pub listen: SocketAddr,
    /// The base URL under which clients and payers reach the sandbox; QR codes and bill links start with it.
    /// Without it, `http://` and the bound address.
    pub public_url: Option<Url>,
    /// The waits between notification retries are divided by this number (at least 1): 240 makes the first retry come
    /// after one second instead of four minutes.
    pub time_scale: u32,
    /// Whether a bill of the current day, as far as it has come, can be asked for. The real service only has past days.
    pub current_day_bill: bool,
    /// The fee rate of apps that register without one.
    pub fee_rate: FeeRate,
    /// Alipay's private key as PEM (PKCS#8 or PKCS#1). Without it, a new RSA-2048 key is made at every start.
    pub alipay_private_key_pem: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            public_url: None,
            time_scale: 1,
            current_day_bill: true,
            fee_rate: FeeRate::DEFAULT,
            alipay_private_key_pem: None,
        }
    }
}

// By hand, so that a private key never reaches a log.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("listen", &self.listen)
            .field("public_url", &self.public_url.as_ref().map(Url::as_str))
            .field("time_scale", &self.time_scale)
            .field("current_day_bill", &self.current_day_bill)
            .field("fee_rate", &self.fee_rate)
            .field("alipay_private_key_pem", &self.alipay_private_key_pem.as_ref().map(|_| "set"))
            .finish()
    }
}

/// Everything that is wrong with the configuration, one line per variable.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigErrors(Vec<String>);

impl Config {
    /// Reads the configuration from environment variables through `lookup` (`SANDBOX_LISTEN`, `SANDBOX_PUBLIC_URL`,
    /// `SANDBOX_TIME_SCALE`, `SANDBOX_CURRENT_DAY_BILL`, `SANDBOX_FEE_RATE`, `SANDBOX_ALIPAY_PRIVATE_KEY`). A missing or
    /// empty variable takes its default.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let defaults = Self::default();
        let mut errors = Vec::new();
        let mut reader = Reader { lookup: &lookup, errors: &mut errors };

        let config = Self {
            listen: reader
                .read("SANDBOX_LISTEN", "an address such as 127.0.0.1:8080", |text| text.parse().ok())
                .unwrap_or(defaults.listen),
            public_url: reader.read(
                "SANDBOX_PUBLIC_URL",
                "an http or https URL without query",
                parse_base_url,
            ),
            time_scale: reader
                .read("SANDBOX_TIME_SCALE", "a whole number from 1", |text| {
                    text.parse().ok().filter(|scale| *scale >= 1)
                })
                .unwrap_or(defaults.time_scale),
            current_day_bill: reader
                .read("SANDBOX_CURRENT_DAY_BILL", "true or false", |text| text.parse().ok())
                .unwrap_or(defaults.current_day_bill),
            fee_rate: reader
                .read("SANDBOX_FEE_RATE", "a decimal fraction such as 0.006", |text| text.parse().ok())
                .unwrap_or(defaults.fee_rate),
            alipay_private_key_pem: reader.read(
                "SANDBOX_ALIPAY_PRIVATE_KEY",
                "an RSA private key as PEM",
                |text| crate::alipay::is_private_key_pem(text).then(|| text.to_owned()),
            ),
        };
        if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
    }
}

struct Reader<'a, L> {
    lookup: &'a L,
    errors: &'a mut Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<'_, L> {
    /// The parsed variable, `None` if it is not set; a bad one is noted without its value, which may be a secret.
    fn read<T>(&mut self, name: &str, wanted: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = (self.lookup)(name).filter(|text| !text.trim().is_empty())?;
        let parsed = parse(text.trim());
        if parsed.is_none() {
            self.errors.push(format!("{name} must be {wanted}"));
        }
        parsed
    }
}

fn parse_base_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let usable = matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none();
    usable.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_set_gives_the_defaults() {
        let config = Config::from_lookup(|_| None).unwrap();
        assert_eq!(config.listen, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        assert_eq!(config.time_scale, 1);
        assert!(config.current_day_bill);
    }

    #[test]
    fn every_error_is_reported_and_no_value_is_repeated() {
        let errors = Config::from_lookup(|name| {
            Some(match name {
                "SANDBOX_TIME_SCALE" => "0".to_owned(),
                "SANDBOX_PUBLIC_URL" => "ftp://example.com".to_owned(),
                "SANDBOX_ALIPAY_PRIVATE_KEY" => "secret".to_owned(),
                "SANDBOX_FEE_RATE" => "1.5".to_owned(),
                _ => "nonsense".to_owned(),
            })
        })
        .unwrap_err()
        .to_string();
        assert_eq!(errors.lines().count(), 6, "{errors}");
        assert!(!errors.contains("secret"), "{errors}");
    }
}
