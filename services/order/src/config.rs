//! What the service needs to know to start.

use std::sync::Arc;
use std::time::Duration;

use tael_config::{ConfigErrors, Env};
use tael_runtime::ServiceConfig;
use tael_sealed::Keyring;

const EXPIRY_INTERVAL: Duration = Duration::from_secs(5);
const REFUND_INTERVAL: Duration = Duration::from_secs(1);

/// The order service's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address, database and Redis.
    pub base: ServiceConfig,
    /// `TAEL_PAYMENT_URL`: the payment service, which closes payments, gives unapplied payments back, and whose events pay orders.
    pub payment_url: String,
    /// `TAEL_REFUND_URL`: the refund service, whose events refund orders.
    pub refund_url: String,
    /// `TAEL_SEALING_KEYS`: the keyring that seals buyers' contacts, see `tael_sealed`.
    pub keyring: Arc<Keyring>,
    /// `TAEL_ORDER_EXPIRY_INTERVAL`: how often to look for orders whose time is up; 5 s by default.
    pub expiry_interval: Duration,
    /// `TAEL_ORDER_REFUND_INTERVAL`: how often to look for unapplied payments that are to be given back; 1 s by default.
    pub refund_interval: Duration,
}

impl Config {
    pub(crate) fn read(env: &mut Env) -> Result<Self, ConfigErrors> {
        let base = ServiceConfig::read(env);
        let payment_url = env.required("TAEL_PAYMENT_URL");
        let refund_url = env.required("TAEL_REFUND_URL");
        let keyring = env.secret_as("TAEL_SEALING_KEYS").map(Arc::new);
        let expiry_interval = env.duration("TAEL_ORDER_EXPIRY_INTERVAL", EXPIRY_INTERVAL);
        let refund_interval = env.duration("TAEL_ORDER_REFUND_INTERVAL", REFUND_INTERVAL);
        env.finish(|| {
            Some(Self {
                base: base?,
                payment_url: payment_url?,
                refund_url: refund_url?,
                keyring: keyring?,
                expiry_interval,
                refund_interval,
            })
        })
    }
}
