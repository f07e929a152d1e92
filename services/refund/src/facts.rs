//! What this service shows to the money audit.

use sqlx::PgPool;
use tael_facts::{AuditFacts, FactRow, Range};
use tael_proto::audit::v1::FactKind;

use crate::store;

/// Refunds, and what is refundable of orders.
#[derive(Clone, Debug)]
pub(crate) struct RefundFacts {
    pub(crate) pool: PgPool,
}

impl AuditFacts for RefundFacts {
    async fn read(&self, kind: FactKind, range: Range) -> Result<Option<Vec<FactRow>>, sqlx::Error> {
        let found = match kind {
            FactKind::Refund => store::facts::refunds(&self.pool, range).await?,
            FactKind::RefundCeiling => store::facts::ceilings(&self.pool, range).await?,
            _ => return Ok(None),
        };
        Ok(Some(found))
    }
}
