//! What payments are and how they move: types, transitions and decisions, without any input or output.

pub(crate) mod attempt_decision;
pub(crate) mod backoff;
pub(crate) mod breaker;
pub(crate) mod channel_account;
pub(crate) mod evidence;
pub(crate) mod integrity_alert;
pub(crate) mod next_action;
pub(crate) mod payment;
pub(crate) mod refund_execution;
pub(crate) mod routing;
pub(crate) mod subject;
