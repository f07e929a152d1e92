//! Refunds at the channel.

use tael_proto::payment::v1::refund_execution_service_server::RefundExecutionService;
use tael_proto::payment::v1::{
    GetPaymentRefundRequest, GetPaymentRefundResponse, RefundPaymentRequest, RefundPaymentResponse,
};
use tonic::{Request, Response, Status};

use super::{Rpc, convert, parse};

#[tonic::async_trait]
impl RefundExecutionService for Rpc {
    async fn refund_payment(
        &self,
        request: Request<RefundPaymentRequest>,
    ) -> Result<Response<RefundPaymentResponse>, Status> {
        let new = parse::new_refund(&request.into_inner())?;
        // The refund's id is the key, and its row the guard. A pending answer must not be recorded as the last one.
        let payments = self.payments.clone();
        let refund = self.payments.to_the_end(async move { payments.refund(new).await }).await?;
        Ok(Response::new(RefundPaymentResponse { refund: Some(convert::refund(&refund)) }))
    }

    async fn get_payment_refund(
        &self,
        request: Request<GetPaymentRefundRequest>,
    ) -> Result<Response<GetPaymentRefundResponse>, Status> {
        let (merchant_id, id) = parse::get_refund(&request.into_inner())?;
        let refund = self.payments.get_refund(merchant_id, id).await?;
        Ok(Response::new(GetPaymentRefundResponse { refund: Some(convert::refund(&refund)) }))
    }
}
