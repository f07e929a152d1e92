//! Integrity alerts.

use tael_proto::payment::v1::integrity_alert_service_server::IntegrityAlertService;
use tael_proto::payment::v1::{ListIntegrityAlertsRequest, ListIntegrityAlertsResponse};
use tonic::{Request, Response, Status};

use super::{Rpc, convert, parse};

#[tonic::async_trait]
impl IntegrityAlertService for Rpc {
    async fn list_integrity_alerts(
        &self,
        request: Request<ListIntegrityAlertsRequest>,
    ) -> Result<Response<ListIntegrityAlertsResponse>, Status> {
        let (merchant_id, page) = parse::list_integrity_alerts(&request.into_inner())?;
        let rows = self.payments.integrity_alerts(merchant_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |alert| alert.id.uuid());
        let integrity_alerts = rows.into_iter().map(convert::integrity_alert).collect();
        Ok(Response::new(ListIntegrityAlertsResponse { integrity_alerts, next_page_token }))
    }
}
