//! Configuration: typed, and every error reported at once. What a channel needs to know, it reads itself.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use url::Url;

use crate::{
    channels::alipay,
    core::{ChannelFactory, variables::Variables},
};

/// How a sandbox is to be run. `Config::default()` is right for tests: a free port on the loopback interface.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen. Port 0 takes a free one, to be read back with [`App::addr`](crate::App::addr).
    pub listen: SocketAddr,
    /// The base URL under which clients and payers reach the sandbox; QR codes and statement links start with it.
    /// Without it, `http://` and the bound address.
    pub public_url: Option<Url>,
    /// The waits between notification retries are divided by this number (at least 1): 240 makes Alipay's first retry
    /// come after one second instead of four minutes.
    pub time_scale: u32,
    /// A folder in which the channels keep their keys and the registered accounts, so that a restart leaves channel
    /// accounts valid. Without it, everything is made anew at every start.
    pub key_dir: Option<PathBuf>,
    /// How Alipay is played.
    pub alipay: alipay::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            public_url: None,
            time_scale: 1,
            key_dir: None,
            alipay: alipay::Config::default(),
        }
    }
}

/// Everything that is wrong with the configuration, one line per variable.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigErrors(Vec<String>);

impl Config {
    /// Reads the configuration from environment variables through `lookup` (`SANDBOX_LISTEN`, `SANDBOX_PUBLIC_URL`,
    /// `SANDBOX_TIME_SCALE`, `SANDBOX_KEY_DIR`, and the channels' own). A missing or empty variable takes its default.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let defaults = Self::default();
        let mut variables = Variables::new(&lookup);
        let config = Self {
            listen: variables
                .read("SANDBOX_LISTEN", "an address such as 127.0.0.1:8080", |text| text.parse().ok())
                .unwrap_or(defaults.listen),
            public_url: variables.read(
                "SANDBOX_PUBLIC_URL",
                "an http or https URL without query",
                parse_base_url,
            ),
            time_scale: variables
                .read("SANDBOX_TIME_SCALE", "a whole number from 1", |text| {
                    text.parse().ok().filter(|scale| *scale >= 1)
                })
                .unwrap_or(defaults.time_scale),
            key_dir: variables.read("SANDBOX_KEY_DIR", "a folder", |text| Some(PathBuf::from(text))),
            alipay: alipay::Config::read(&mut variables),
        };
        if variables.errors.is_empty() { Ok(config) } else { Err(ConfigErrors(variables.errors)) }
    }

    /// The channels that are played: one line each.
    pub(crate) fn channels(&self) -> Vec<ChannelFactory> {
        vec![alipay::channel(self.alipay.clone())]
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
        assert!(config.alipay.current_day_statement);
    }

    #[test]
    fn every_error_is_reported_and_no_value_is_repeated() {
        let errors = Config::from_lookup(|name| {
            Some(match name {
                "SANDBOX_TIME_SCALE" => "0".to_owned(),
                "SANDBOX_PUBLIC_URL" => "ftp://example.com".to_owned(),
                "SANDBOX_ALIPAY_PRIVATE_KEY" => "secret".to_owned(),
                "SANDBOX_ALIPAY_FEE_RATE" => "1.5".to_owned(),
                _ => "nonsense".to_owned(),
            })
        })
        .unwrap_err()
        .to_string();
        assert_eq!(errors.lines().count(), 6, "{errors}");
        assert!(!errors.contains("secret"), "{errors}");
    }
}
