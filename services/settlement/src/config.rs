//! What the service needs to know to start.

use tael_config::{ConfigErrors, Env};
use tael_runtime::ServiceConfig;

/// The settlement service's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address, database and Redis.
    pub base: ServiceConfig,
    /// `TAEL_PAYMENT_URL`: the payment service, for its log and the channels' bills.
    pub payment_url: String,
    /// `TAEL_ORDER_URL`: the order service's log.
    pub order_url: String,
    /// `TAEL_MERCHANT_URL`: the merchant service, for time zones.
    pub merchant_url: String,
}

impl Config {
    pub(crate) fn read(env: &mut Env) -> Result<Self, ConfigErrors> {
        let base = ServiceConfig::read(env);
        let payment_url = env.required("TAEL_PAYMENT_URL");
        let order_url = env.required("TAEL_ORDER_URL");
        let merchant_url = env.required("TAEL_MERCHANT_URL");
        env.finish(|| {
            Some(Self {
                base: base?,
                payment_url: payment_url?,
                order_url: order_url?,
                merchant_url: merchant_url?,
            })
        })
    }
}
