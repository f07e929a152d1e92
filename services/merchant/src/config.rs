//! What the service needs to know to start.

use tael_config::{ConfigErrors, Env};
use tael_runtime::ServiceConfig;

/// The merchant service's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address, database and Redis.
    pub base: ServiceConfig,
}

impl Config {
    pub(crate) fn read(env: &mut Env) -> Result<Self, ConfigErrors> {
        let base = ServiceConfig::read(env);
        env.finish(|| Some(Self { base: base? }))
    }
}
