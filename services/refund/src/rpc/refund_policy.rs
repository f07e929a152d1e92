//! `RefundPolicyService`.

use tael_grpc::fields::Fields;
use tael_idempotency::{Call, Idempotency};
use tael_ids::MerchantId;
use tael_proto::refund::v1::refund_policy_service_server::RefundPolicyService;
use tael_proto::refund::v1::{
    GetRefundPolicyRequest, GetRefundPolicyResponse, SetRefundPolicyRequest, SetRefundPolicyResponse,
};
use tonic::{Request, Response, Status};

use super::{convert, parse};
use crate::usecase::RefundPolicies;

/// The service on the wire.
#[derive(Debug)]
pub(crate) struct RefundPolicyRpc {
    pub(crate) policies: RefundPolicies,
    pub(crate) idempotency: Idempotency,
}

#[tonic::async_trait]
impl RefundPolicyService for RefundPolicyRpc {
    async fn set_refund_policy(
        &self,
        request: Request<SetRefundPolicyRequest>,
    ) -> Result<Response<SetRefundPolicyResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, policy) = parse::set_refund_policy(&request)?;
        let call = Call::new(&merchant_id, "SetRefundPolicy", &metadata, &request)?;
        let policies = self.policies.clone();
        self.idempotency
            .run(call, move |key| async move {
                let policy = policies.set(merchant_id, policy, key).await?;
                Ok(SetRefundPolicyResponse { policy: Some(convert::refund_policy(&policy)) })
            })
            .await
    }

    async fn get_refund_policy(
        &self,
        request: Request<GetRefundPolicyRequest>,
    ) -> Result<Response<GetRefundPolicyResponse>, Status> {
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.into_inner().merchant_id);
        let merchant_id = fields.finish(|| merchant_id)?;
        let policy = self.policies.get(merchant_id).await?;
        Ok(Response::new(GetRefundPolicyResponse { policy: Some(convert::refund_policy(&policy)) }))
    }
}
