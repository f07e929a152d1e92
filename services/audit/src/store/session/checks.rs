//! What must agree. One statement for each way in which it may not.
//!
//! Each returns a row per disagreement: merchant, ids, what was found, and, where amounts are compared, their currency,
//! what the amount should be and what it is. A disagreement is known again by its kind, ids and amounts, so the rest
//! may change from pass to pass.

mod channel;
mod events;
mod ledger;
mod orders;
mod payments;
mod refunds;

use tael_proto::audit::v1::DisagreementKind;

/// One way to disagree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    pub(super) kind: DisagreementKind,
    pub(super) sql: &'static str,
}

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Check> {
    [orders::CHECKS, payments::CHECKS, refunds::CHECKS, ledger::CHECKS, events::CHECKS, channel::CHECKS]
        .into_iter()
        .flatten()
}
