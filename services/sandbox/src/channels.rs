//! The channels of the sandbox, one folder each. `Config::channels` says which are played.

pub mod alipay;
