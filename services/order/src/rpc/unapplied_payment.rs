//! Unapplied payments and the policies about them.

use tael_idempotency::Call;
use tael_proto::order::v1::unapplied_payment_service_server::UnappliedPaymentService;
use tael_proto::order::v1::{
    GetLatePaymentPolicyRequest, GetLatePaymentPolicyResponse, ListUnappliedPaymentsRequest,
    ListUnappliedPaymentsResponse, ResolveUnappliedPaymentRequest, ResolveUnappliedPaymentResponse,
    SetLatePaymentPolicyRequest, SetLatePaymentPolicyResponse,
};
use tonic::{Request, Response, Status};

use super::{Rpc, convert, parse};

#[tonic::async_trait]
impl UnappliedPaymentService for Rpc {
    async fn set_late_payment_policy(
        &self,
        request: Request<SetLatePaymentPolicyRequest>,
    ) -> Result<Response<SetLatePaymentPolicyResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, policy) = parse::set_late_payment_policy(&request)?;
        let call = Call::new(&merchant_id, "SetLatePaymentPolicy", &metadata, &request)?;
        let orders = self.orders.clone();
        self.idempotency
            .run(call, move |key| async move {
                let policy = orders.set_late_payment_policy(merchant_id, policy, key).await?;
                Ok(SetLatePaymentPolicyResponse { policy: Some(convert::late_payment_policy(policy)) })
            })
            .await
    }

    async fn get_late_payment_policy(
        &self,
        request: Request<GetLatePaymentPolicyRequest>,
    ) -> Result<Response<GetLatePaymentPolicyResponse>, Status> {
        let merchant_id = parse::merchant(&request.into_inner().merchant_id)?;
        let policy = self.orders.late_payment_policy(merchant_id).await?;
        Ok(Response::new(GetLatePaymentPolicyResponse { policy: Some(convert::late_payment_policy(policy)) }))
    }

    async fn list_unapplied_payments(
        &self,
        request: Request<ListUnappliedPaymentsRequest>,
    ) -> Result<Response<ListUnappliedPaymentsResponse>, Status> {
        let (merchant_id, page) = parse::list_unapplied_payments(&request.into_inner())?;
        let rows = self.orders.list_unapplied_payments(merchant_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |payment| payment.payment_id.uuid());
        let unapplied_payments = rows.into_iter().map(convert::unapplied_payment).collect();
        Ok(Response::new(ListUnappliedPaymentsResponse { unapplied_payments, next_page_token }))
    }

    async fn resolve_unapplied_payment(
        &self,
        request: Request<ResolveUnappliedPaymentRequest>,
    ) -> Result<Response<ResolveUnappliedPaymentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let resolve = parse::resolve_unapplied_payment(&request)?;
        let (merchant_id, order_id, payment_id) = (resolve.merchant_id, resolve.order_id, resolve.payment_id);
        let call = Call::new(&merchant_id, "ResolveUnappliedPayment", &metadata, &request)?;
        let orders = self.orders.clone();
        // What is recorded is that it was done. Where the payment stands by now is read anew.
        let mut response = self
            .idempotency
            .run(call, move |_| async move {
                orders.resolve(resolve).await?;
                Ok(ResolveUnappliedPaymentResponse::default())
            })
            .await?;
        let payment = self.orders.unapplied_payment(merchant_id, order_id, payment_id).await?;
        response.get_mut().unapplied_payment = Some(convert::unapplied_payment(payment));
        Ok(response)
    }
}
