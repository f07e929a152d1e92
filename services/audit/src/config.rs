//! What the service needs to know to start.

use std::time::Duration;
use tael_config::{ConfigErrors, Env};

use tael_runtime::ServiceConfig;

/// The audit service's configuration: itself, and the services whose facts it compares.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address and database. Redis is not used: nothing here is done twice by a repeated call.
    pub base: ServiceConfig,
    /// `TAEL_ORDER_URL`: the order service.
    pub order_url: String,
    /// `TAEL_PAYMENT_URL`: the payment service, also for the channels' statements.
    pub payment_url: String,
    /// `TAEL_REFUND_URL`: the refund service.
    pub refund_url: String,
    /// `TAEL_SETTLEMENT_URL`: the settlement service, for the ledger.
    pub settlement_url: String,
    /// `TAEL_NOTIFICATION_URL`: the notification service.
    pub notification_url: String,
    /// `TAEL_STATEMENT_TIMEOUT`: how long one statement of a channel may take to be read; 30 seconds by default. All that
    /// one seller has in an audit may take twice as long.
    pub statement_timeout: Duration,
}

impl Config {
    pub(crate) fn read(env: &mut Env) -> Result<Self, ConfigErrors> {
        let base = ServiceConfig::read(env);
        let order_url = env.required("TAEL_ORDER_URL");
        let payment_url = env.required("TAEL_PAYMENT_URL");
        let refund_url = env.required("TAEL_REFUND_URL");
        let settlement_url = env.required("TAEL_SETTLEMENT_URL");
        let notification_url = env.required("TAEL_NOTIFICATION_URL");
        let statement_timeout = env.duration("TAEL_STATEMENT_TIMEOUT", Duration::from_secs(30));
        env.finish(|| {
            Some(Self {
                base: base?,
                order_url: order_url?,
                payment_url: payment_url?,
                refund_url: refund_url?,
                settlement_url: settlement_url?,
                notification_url: notification_url?,
                statement_timeout,
            })
        })
    }
}
