//! Reconciliation over gRPC.

use tael_grpc::fields::Fields;
use tael_idempotency::{Call, Idempotency};
use tael_ids::{ChannelAccountId, MerchantId, ReconciliationId};
use tael_proto::settlement::v1::reconciliation_service_server::ReconciliationService;
use tael_proto::settlement::v1::{
    ErrorReason, GetReconciliationRequest, GetReconciliationResponse, ReconcileRequest, ReconcileResponse,
};
use tonic::{Request, Response, Status};

use super::convert::to_reconciliation;
use super::parse;
use crate::usecase::Settlement;

pub(crate) struct ReconciliationRpc {
    pub(crate) settlement: Settlement,
    pub(crate) idempotency: Idempotency,
}

#[tonic::async_trait]
impl ReconciliationService for ReconciliationRpc {
    async fn reconcile(
        &self,
        request: Request<ReconcileRequest>,
    ) -> Result<Response<ReconcileResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let account_id = fields.id::<ChannelAccountId>("channel_account_id", &request.channel_account_id);
        let date = parse::statement_date(&mut fields, &request.statement_date);
        let (merchant_id, account_id, date) = fields.finish(|| Some((merchant_id?, account_id?, date?)))?;
        // The channel makes its statement of a day later.
        let call = Call::new(&merchant_id, "Reconcile", &metadata, &request)?
            .retryable_reasons([ErrorReason::StatementNotAvailable.as_str_name()]);
        let settlement = self.settlement.clone();
        self.idempotency
            .run(call, move |guard| async move {
                let reconciliation = settlement.reconcile(merchant_id, account_id, date, guard).await?;
                Ok(ReconcileResponse { reconciliation: Some(to_reconciliation(reconciliation)) })
            })
            .await
    }

    async fn get_reconciliation(
        &self,
        request: Request<GetReconciliationRequest>,
    ) -> Result<Response<GetReconciliationResponse>, Status> {
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.get_ref().merchant_id);
        let id = fields.id::<ReconciliationId>("reconciliation_id", &request.get_ref().reconciliation_id);
        let (merchant_id, id) = fields.finish(|| Some((merchant_id?, id?)))?;
        let reconciliation = self.settlement.reconciliation(merchant_id, id).await?;
        Ok(Response::new(GetReconciliationResponse {
            reconciliation: Some(to_reconciliation(reconciliation)),
        }))
    }
}
