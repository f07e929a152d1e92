//! `RefundService`.

use tael_grpc::fields::Fields;
use tael_grpc::page::Page;
use tael_idempotency::{Call, Idempotency};
use tael_ids::{MerchantId, OrderId, RefundId};
use tael_proto::refund::v1::refund_service_server::RefundService;
use tael_proto::refund::v1::{
    ApproveRefundRequest, ApproveRefundResponse, CreateRefundRequest, CreateRefundResponse, ErrorReason,
    GetRefundRequest, GetRefundResponse, ListRefundsRequest, ListRefundsResponse, Refund, RefundState,
    RejectRefundRequest, RejectRefundResponse,
};
use tonic::{Request, Response, Status};

use super::{convert, parse};
use crate::usecase::Refunds;

/// The service on the wire.
#[derive(Debug)]
pub(crate) struct RefundRpc {
    pub(crate) refunds: Refunds,
    pub(crate) idempotency: Idempotency,
}

#[tonic::async_trait]
impl RefundService for RefundRpc {
    async fn create_refund(
        &self,
        request: Request<CreateRefundRequest>,
    ) -> Result<Response<CreateRefundResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let new = parse::new_refund(&request)?;
        // The order hears of its money a moment later, and a refund that fails gives back what it took.
        let call = Call::new(&new.merchant_id, "CreateRefund", &metadata, &request)?.retryable_reasons([
            ErrorReason::OrderNotPaid.as_str_name(),
            ErrorReason::RefundExceedsOrder.as_str_name(),
            ErrorReason::RefundExceedsLine.as_str_name(),
        ]);
        let refunds = self.refunds.clone();
        let answer = self
            .idempotency
            .run_until_final(
                call,
                |answer: &CreateRefundResponse| is_completed(answer.refund.as_ref()),
                move |key| async move {
                    let refund = refunds.create(new, key).await?;
                    Ok(CreateRefundResponse { refund: Some(convert::refund(&refund)) })
                },
            )
            .await?;
        if let Some(refund) = &answer.get_ref().refund {
            tael_telemetry::record("tael.refund_id", &refund.refund_id);
            tael_telemetry::record("tael.payment_id", &refund.payment_id);
        }
        Ok(answer)
    }

    async fn approve_refund(
        &self,
        request: Request<ApproveRefundRequest>,
    ) -> Result<Response<ApproveRefundResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, refund_id, operator) =
            parse::decision(&request.merchant_id, &request.refund_id, &request.operator)?;
        let call = Call::new(&merchant_id, "ApproveRefund", &metadata, &request)?;
        let refunds = self.refunds.clone();
        self.idempotency
            .run_until_final(
                call,
                |answer: &ApproveRefundResponse| is_completed(answer.refund.as_ref()),
                move |_| async move {
                    let refund = refunds.approve(merchant_id, refund_id, &operator).await?;
                    Ok(ApproveRefundResponse { refund: Some(convert::refund(&refund)) })
                },
            )
            .await
    }

    async fn reject_refund(
        &self,
        request: Request<RejectRefundRequest>,
    ) -> Result<Response<RejectRefundResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, refund_id, operator) =
            parse::decision(&request.merchant_id, &request.refund_id, &request.operator)?;
        let call = Call::new(&merchant_id, "RejectRefund", &metadata, &request)?;
        let refunds = self.refunds.clone();
        self.idempotency
            .run(call, move |_| async move {
                let refund = refunds.reject(merchant_id, refund_id, &operator).await?;
                Ok(RejectRefundResponse { refund: Some(convert::refund(&refund)) })
            })
            .await
    }

    async fn get_refund(
        &self,
        request: Request<GetRefundRequest>,
    ) -> Result<Response<GetRefundResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let refund_id = fields.id::<RefundId>("refund_id", &request.refund_id);
        let (merchant_id, refund_id) = fields.finish(|| Some((merchant_id?, refund_id?)))?;
        let refund = self.refunds.get(merchant_id, refund_id).await?;
        Ok(Response::new(GetRefundResponse { refund: Some(convert::refund(&refund)) }))
    }

    async fn list_refunds(
        &self,
        request: Request<ListRefundsRequest>,
    ) -> Result<Response<ListRefundsResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let order_id = fields.optional_id::<OrderId>("order_id", &request.order_id);
        let scope = ["ListRefunds", &request.merchant_id, &request.order_id];
        let page = Page::parse(&mut fields, request.page_size, &request.page_token, &scope);
        let (merchant_id, order_id, page) = fields.finish(|| Some((merchant_id?, order_id?, page?)))?;
        let rows = self.refunds.list(merchant_id, order_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |refund| refund.id.uuid());
        let refunds = rows.iter().map(convert::refund).collect();
        Ok(Response::new(ListRefundsResponse { refunds, next_page_token }))
    }
}

/// Says whether an answer may be recorded: while a refund is processing, who calls again is to hear how it ended.
fn is_completed(refund: Option<&Refund>) -> bool {
    refund.is_some_and(|refund| refund.state() != RefundState::Processing)
}
