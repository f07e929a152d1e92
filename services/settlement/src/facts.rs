//! What the ledger shows to the money audit.

use sqlx::PgPool;
use tael_facts::{AuditFacts, FactRow, Range};
use tael_proto::audit::v1::FactKind;

use crate::store;

/// Transfers with their entries' sums, and accounts with theirs.
#[derive(Clone, Debug)]
pub(crate) struct LedgerFacts {
    pub(crate) pool: PgPool,
}

impl AuditFacts for LedgerFacts {
    async fn read(&self, kind: FactKind, range: Range) -> Result<Option<Vec<FactRow>>, sqlx::Error> {
        let found = match kind {
            FactKind::Transfer => store::facts::transfers(&self.pool, range).await?,
            FactKind::LedgerAccount => store::facts::accounts(&self.pool, range).await?,
            _ => return Ok(None),
        };
        Ok(Some(found))
    }
}
