//! What the refund service needs to know to start.

use std::time::Duration;

use tael_config::{ConfigErrors, Env};
use tael_runtime::ServiceConfig;

/// The configuration of the refund service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address, database, Redis.
    pub base: ServiceConfig,
    /// `TAEL_ORDER_URL`: the order service.
    pub order_url: String,
    /// `TAEL_PAYMENT_URL`: the payment service, and its log.
    pub payment_url: String,
    /// `TAEL_REFUND_RETRY_FIRST`: how long after an unclear answer the payment service is asked again; the pause
    /// doubles with every further one, up to 5 minutes. 2 s by default.
    pub retry_first: Duration,
    /// `TAEL_REFUND_RETRY_POLL`: how often to look for refunds whose time has come; 1 s by default.
    pub retry_poll: Duration,
}

impl Config {
    /// Reads the variables above.
    pub fn read(env: &mut Env) -> Result<Self, ConfigErrors> {
        let base = ServiceConfig::read(env);
        let order_url = env.required("TAEL_ORDER_URL");
        let payment_url = env.required("TAEL_PAYMENT_URL");
        let retry_first = env.duration("TAEL_REFUND_RETRY_FIRST", Duration::from_secs(2));
        let retry_poll = env.duration("TAEL_REFUND_RETRY_POLL", Duration::from_secs(1));
        env.finish(|| {
            Some(Self {
                base: base?,
                order_url: order_url?,
                payment_url: payment_url?,
                retry_first,
                retry_poll,
            })
        })
    }
}
