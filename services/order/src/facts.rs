//! What this service shows to the money audit.

use sqlx::PgPool;
use tael_facts::{AuditFacts, FactRow, Range};
use tael_proto::audit::v1::FactKind;

use crate::store;

/// Orders, the payments that they could not take, and the refunds they counted.
#[derive(Clone, Debug)]
pub(crate) struct OrderFacts {
    pub(crate) pool: PgPool,
}

impl AuditFacts for OrderFacts {
    async fn read(&self, kind: FactKind, range: Range) -> Result<Option<Vec<FactRow>>, sqlx::Error> {
        let found = match kind {
            FactKind::Order => store::facts::orders(&self.pool, range).await?,
            FactKind::HeldPayment => store::facts::held_payments(&self.pool, range).await?,
            FactKind::CountedRefund => store::facts::counted_refunds(&self.pool, range).await?,
            _ => return Ok(None),
        };
        Ok(Some(found))
    }
}
