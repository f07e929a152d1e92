//! What people decide of attempts in doubt.

use tael_proto::payment::v1::attempt_decision_service_server::AttemptDecisionService;
use tael_proto::payment::v1::{
    ApproveAttemptDecisionRequest, ApproveAttemptDecisionResponse, ListAttemptDecisionsRequest,
    ListAttemptDecisionsResponse, RejectAttemptDecisionRequest, RejectAttemptDecisionResponse,
    RequestAttemptDecisionRequest, RequestAttemptDecisionResponse,
};
use tonic::{Request, Response, Status};

use super::{Rpc, convert, parse};

#[tonic::async_trait]
impl AttemptDecisionService for Rpc {
    async fn request_attempt_decision(
        &self,
        request: Request<RequestAttemptDecisionRequest>,
    ) -> Result<Response<RequestAttemptDecisionResponse>, Status> {
        let new = parse::new_decision(&request.into_inner())?;
        let decision = self.payments.request_decision(new).await?;
        let attempt_decision = Some(convert::attempt_decision(decision));
        Ok(Response::new(RequestAttemptDecisionResponse { attempt_decision }))
    }

    async fn approve_attempt_decision(
        &self,
        request: Request<ApproveAttemptDecisionRequest>,
    ) -> Result<Response<ApproveAttemptDecisionResponse>, Status> {
        let ApproveAttemptDecisionRequest { merchant_id, attempt_decision_id, operator } =
            request.into_inner();
        let (merchant_id, id, operator) = parse::decide(&merchant_id, &attempt_decision_id, &operator)?;
        let payments = self.payments.clone();
        let approve = async move { payments.approve_decision(merchant_id, id, operator).await };
        let attempt_decision = Some(convert::attempt_decision(self.payments.to_the_end(approve).await?));
        Ok(Response::new(ApproveAttemptDecisionResponse { attempt_decision }))
    }

    async fn reject_attempt_decision(
        &self,
        request: Request<RejectAttemptDecisionRequest>,
    ) -> Result<Response<RejectAttemptDecisionResponse>, Status> {
        let RejectAttemptDecisionRequest { merchant_id, attempt_decision_id, operator } =
            request.into_inner();
        let (merchant_id, id, operator) = parse::decide(&merchant_id, &attempt_decision_id, &operator)?;
        let decision = self.payments.reject_decision(merchant_id, id, operator).await?;
        let attempt_decision = Some(convert::attempt_decision(decision));
        Ok(Response::new(RejectAttemptDecisionResponse { attempt_decision }))
    }

    async fn list_attempt_decisions(
        &self,
        request: Request<ListAttemptDecisionsRequest>,
    ) -> Result<Response<ListAttemptDecisionsResponse>, Status> {
        let (merchant_id, page) = parse::list_decisions(&request.into_inner())?;
        let rows = self.payments.decisions(merchant_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |decision| decision.id.uuid());
        let attempt_decisions = rows.into_iter().map(convert::attempt_decision).collect();
        Ok(Response::new(ListAttemptDecisionsResponse { attempt_decisions, next_page_token }))
    }
}
