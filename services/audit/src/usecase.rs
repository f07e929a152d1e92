//! One function per use case; the only place that opens the audit's session.

pub(crate) mod metrics;
pub(crate) mod money_audit;
pub(crate) mod statement;

use tael_proto::audit::v1::DisagreementKind;

use crate::clients::PeerError;

/// Why an audit came to no end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("a date is outside of the calendar")]
    Calendar(#[from] jiff::Error),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// The name of a kind in metrics, for example `order_without_money`.
pub(crate) fn kind_name(kind: DisagreementKind) -> String {
    let name = kind.as_str_name();
    name.strip_prefix("DISAGREEMENT_KIND_").unwrap_or(name).to_lowercase()
}
