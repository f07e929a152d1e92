//! What payments are and how they move: types, transitions and decisions, without any input or output.

pub(crate) mod account;
pub(crate) mod alarm;
pub(crate) mod backoff;
pub(crate) mod breaker;
pub(crate) mod evidence;
pub(crate) mod payment;
pub(crate) mod refund;
pub(crate) mod routing;
pub(crate) mod subject;
