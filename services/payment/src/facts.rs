//! What this service shows to the money audit.

use sqlx::PgPool;
use tael_facts::{AuditFacts, FactRow, Range};
use tael_proto::audit::v1::FactKind;

use crate::store;

/// Channel accounts, payments, attempts, and refunds at channels.
#[derive(Clone, Debug)]
pub(crate) struct PaymentFacts {
    pub(crate) pool: PgPool,
}

impl AuditFacts for PaymentFacts {
    async fn read(&self, kind: FactKind, range: Range) -> Result<Option<Vec<FactRow>>, sqlx::Error> {
        let found = match kind {
            FactKind::ChannelAccount => store::facts::channel_accounts(&self.pool, range).await?,
            FactKind::Payment => store::facts::payments(&self.pool, range).await?,
            FactKind::Attempt => store::facts::attempts(&self.pool, range).await?,
            FactKind::PaymentRefund => store::facts::refunds(&self.pool, range).await?,
            _ => return Ok(None),
        };
        Ok(Some(found))
    }
}
