//! What this service shows to the money audit.

use sqlx::PgPool;
use tael_facts::{AuditFacts, FactRow, Range};
use tael_proto::audit::v1::FactKind;

use crate::store;

/// Endpoints and deliveries.
#[derive(Clone, Debug)]
pub(crate) struct DeliveryFacts {
    pub(crate) pool: PgPool,
}

impl AuditFacts for DeliveryFacts {
    async fn read(&self, kind: FactKind, range: Range) -> Result<Option<Vec<FactRow>>, sqlx::Error> {
        let found = match kind {
            FactKind::WebhookEndpoint => store::facts::endpoints(&self.pool, range).await?,
            FactKind::Delivery => store::facts::deliveries(&self.pool, range).await?,
            _ => return Ok(None),
        };
        Ok(Some(found))
    }
}
