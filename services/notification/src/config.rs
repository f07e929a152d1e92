//! What the notification service needs to know to start.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tael_config::{ConfigErrors, Env};
use tael_egress::Policy;
use tael_runtime::ServiceConfig;
use tael_sealed::Keyring;

/// The configuration of the notification service.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address, database, Redis.
    pub base: ServiceConfig,
    /// `TAEL_ORDER_URL`: the order service's log.
    pub order_url: String,
    /// `TAEL_PAYMENT_URL`: the payment service's log.
    pub payment_url: String,
    /// `TAEL_REFUND_URL`: the refund service's log.
    pub refund_url: String,
    /// `TAEL_SETTLEMENT_URL`: the settlement service's log.
    pub settlement_url: String,
    /// `TAEL_SEALING_KEYS`: the keyring that seals signing secrets.
    pub keyring: Arc<Keyring>,
    /// `TAEL_EGRESS_ALLOW_LOCAL`, `TAEL_EGRESS_PORTS`: which addresses endpoints may have ([`Policy::read`]).
    pub egress: Policy,
    /// How webhooks are sent.
    pub webhooks: Webhooks,
}

/// How webhooks are sent.
#[derive(Clone, Copy, Debug)]
pub struct Webhooks {
    /// `TAEL_WEBHOOK_TIMEOUT`: how long an endpoint has for its answer; 10 s by default.
    pub timeout: Duration,
    /// `TAEL_WEBHOOK_RETRY_SPEED`: so many times faster than the specification recommends deliveries are tried again;
    /// 1 by default. For development.
    pub retry_speed: NonZeroU32,
    /// `TAEL_WEBHOOK_TRACEPARENT`: merchants are sent the trace of the event as `traceparent`. Not by default: who we are inside
    /// is nobody's business.
    pub traceparent: bool,
    /// `TAEL_WEBHOOK_POLL`: how often to look for deliveries that are due and of which this process was not told;
    /// 1 s by default.
    pub poll: Duration,
}

impl Config {
    /// Reads the variables above.
    pub fn read(env: &mut Env) -> Result<Self, ConfigErrors> {
        let base = ServiceConfig::read(env);
        let order_url = env.required("TAEL_ORDER_URL");
        let payment_url = env.required("TAEL_PAYMENT_URL");
        let refund_url = env.required("TAEL_REFUND_URL");
        let settlement_url = env.required("TAEL_SETTLEMENT_URL");
        let keyring = env.secret_as("TAEL_SEALING_KEYS").map(Arc::new);
        let egress = Policy::read(env);
        let webhooks = Webhooks {
            timeout: env.duration("TAEL_WEBHOOK_TIMEOUT", Duration::from_secs(10)),
            retry_speed: env.or("TAEL_WEBHOOK_RETRY_SPEED", NonZeroU32::MIN),
            traceparent: env.flag("TAEL_WEBHOOK_TRACEPARENT", false),
            poll: env.duration("TAEL_WEBHOOK_POLL", Duration::from_secs(1)),
        };
        env.finish(|| {
            Some(Self {
                base: base?,
                order_url: order_url?,
                payment_url: payment_url?,
                refund_url: refund_url?,
                settlement_url: settlement_url?,
                keyring: keyring?,
                egress,
                webhooks,
            })
        })
    }
}
