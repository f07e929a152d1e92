//! Integrity alerts.

use tael_ids::MerchantId;
use uuid::Uuid;

use super::{Internal, Payments};
use crate::domain::integrity_alert::IntegrityAlert;
use crate::store;

impl Payments {
    pub(crate) async fn integrity_alerts(
        &self,
        merchant_id: MerchantId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<IntegrityAlert>, Internal> {
        Ok(store::integrity_alert::list(&self.pool, merchant_id, after, limit).await?)
    }
}
