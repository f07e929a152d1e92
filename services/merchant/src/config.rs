//! What the service needs to know to start.

use std::time::Duration;

use tael_config::{ConfigErrors, Env};
use tael_principal::SigningKey;
use tael_runtime::ServiceConfig;

/// The merchant service's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address, database and Redis.
    pub base: ServiceConfig,
    /// `TAEL_PRINCIPAL_SIGNING_KEY`: the key that signs tokens, see `tael_principal`. Only this service has it.
    pub signing_key: SigningKey,
    /// `TAEL_PRINCIPAL_LIFETIME`: how long a token holds, and so how long a revoked key may still act; 5 min by default.
    pub token_lifetime: Duration,
}

impl Config {
    pub(crate) fn read(env: &mut Env) -> Result<Self, ConfigErrors> {
        let base = ServiceConfig::read(env);
        let signing_key = env.secret_as("TAEL_PRINCIPAL_SIGNING_KEY");
        let token_lifetime = env.duration("TAEL_PRINCIPAL_LIFETIME", Duration::from_mins(5));
        env.finish(|| Some(Self { base: base?, signing_key: signing_key?, token_lifetime }))
    }
}
