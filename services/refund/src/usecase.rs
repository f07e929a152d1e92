//! What the service does: one method per use case. Only here are transactions opened.

mod refund;
mod refund_policy;

pub(crate) use refund::{NewRefund, RefundError, Refunds};
pub(crate) use refund_policy::{RefundPolicies, RefundPolicyError};
