//! What the service needs to know to start.

use std::sync::Arc;
use std::time::Duration;

use tael_config::{ConfigErrors, Env};
use tael_egress::Policy;
use tael_runtime::ServiceConfig;
use tael_sealed::Keyring;
use url::Url;

/// The payment service's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address, database and Redis.
    pub base: ServiceConfig,
    /// `TAEL_ORDER_URL`: the order service.
    pub order_url: String,
    /// `TAEL_MERCHANT_URL`: the merchant service.
    pub merchant_url: String,
    /// `TAEL_PUBLIC_URL`: where channels and payers reach the gateway from outside.
    pub public_url: Url,
    /// `TAEL_SEALING_KEYS`: the keyring that seals channel credentials.
    pub keyring: Arc<Keyring>,
    /// `TAEL_EGRESS_ALLOW_LOCAL`, `TAEL_EGRESS_PORTS`: which of the addresses that merchants and channels name are called
    /// ([`Policy::read`]).
    pub egress: Policy,
    /// `TAEL_CHANNEL_TIMEOUT`: how long a channel may take to answer one call; 10s by default.
    pub channel_timeout: Duration,
    /// `TAEL_POLL_FIRST`: how long after a call the channel is asked what became of it; 5s by default. Each further
    /// wait is half as long again.
    pub poll_first: Duration,
    /// `TAEL_POLL_LAST`: the longest such wait; 1m by default.
    pub poll_last: Duration,
}

impl Config {
    pub(crate) fn read(env: &mut Env) -> Result<Self, ConfigErrors> {
        let base = ServiceConfig::read(env);
        let order_url = env.required("TAEL_ORDER_URL");
        let merchant_url = env.required("TAEL_MERCHANT_URL");
        let public_url = env.required("TAEL_PUBLIC_URL");
        let keyring = env.secret_as("TAEL_SEALING_KEYS").map(Arc::new);
        let egress = Policy::read(env);
        let channel_timeout = env.duration("TAEL_CHANNEL_TIMEOUT", Duration::from_secs(10));
        let poll_first = env.duration("TAEL_POLL_FIRST", Duration::from_secs(5));
        let poll_last = env.duration("TAEL_POLL_LAST", Duration::from_mins(1));
        env.finish(|| {
            Some(Self {
                base: base?,
                order_url: order_url?,
                merchant_url: merchant_url?,
                public_url: public_url?,
                keyring: keyring?,
                egress,
                channel_timeout,
                poll_first,
                poll_last,
            })
        })
    }
}
