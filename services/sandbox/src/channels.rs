//! The channels of the sandbox, one folder each. Adding one is its folder, its `Config` if it has any, and a line here.

pub mod alipay;

use crate::{config::Config, core::ChannelFactory};

/// The channels that the binary plays.
pub(crate) fn all(config: &Config) -> Vec<ChannelFactory> {
    vec![alipay::channel(config.alipay.clone())]
}
