//! What the service needs to know to start.

use tael_config::{ConfigErrors, Env};
use tael_runtime::Base;

/// The merchant service's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address, database and Redis.
    pub base: Base,
}

impl Config {
    pub(crate) fn read(env: &mut Env) -> Result<Self, ConfigErrors> {
        let base = Base::read(env);
        env.finish(|| Some(Self { base: base? }))
    }
}
