//! Payments.

use std::time::Duration;

use tael_idempotency::Call;
use tael_proto::payment::v1::payment_service_server::PaymentService;
use tael_proto::payment::v1::{
    ClosePaymentRequest, ClosePaymentResponse, CreatePaymentRequest, CreatePaymentResponse, ErrorReason,
    GetCheckoutRequest, GetCheckoutResponse, GetPaymentRequest, GetPaymentResponse, ListPaymentsRequest,
    ListPaymentsResponse, PaymentState, SyncPaymentRequest, SyncPaymentResponse,
};
use tonic::{Request, Response, Status};

use super::{Rpc, convert, parse};
use crate::domain::payment::Payment;

/// How long a new payment takes to its answer at the least: the order and the merchant are asked, the intent is committed, and
/// a channel far away answers. Begun with less, it would be cut off while the channel is asked and left in doubt.
const CREATION_TAKES: Duration = Duration::from_millis(250);

#[tonic::async_trait]
impl PaymentService for Rpc {
    async fn create_payment(
        &self,
        request: Request<CreatePaymentRequest>,
    ) -> Result<Response<CreatePaymentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let new = parse::new_payment(&request)?;
        // Closing the other payment, an approval or a new account lets the same call succeed.
        let call = Call::new(&new.merchant_id, "CreatePayment", &metadata, &request)?.retryable_reasons([
            ErrorReason::OrderHasActivePayment.as_str_name(),
            ErrorReason::MerchantNotApproved.as_str_name(),
            ErrorReason::NoChannelAccount.as_str_name(),
        ]);
        let call = call.needs(CREATION_TAKES);
        let payments = self.payments.clone();
        let response = self
            .idempotency
            .run_until_final(call, is_final, move |guard| async move {
                let payment = payments.create(new, guard).await?;
                let public_url = &payments.settings().public_url;
                Ok(CreatePaymentResponse { payment: Some(convert::payment(payment, public_url)) })
            })
            .await?;
        if let Some(payment) = &response.get_ref().payment {
            tael_telemetry::record("tael.payment_id", &payment.payment_id);
        }
        Ok(response)
    }

    async fn get_payment(
        &self,
        request: Request<GetPaymentRequest>,
    ) -> Result<Response<GetPaymentResponse>, Status> {
        let GetPaymentRequest { merchant_id, payment_id } = request.into_inner();
        let (merchant_id, id) = parse::payment(&merchant_id, &payment_id)?;
        let payment = self.payments.payment(merchant_id, id).await?;
        Ok(Response::new(GetPaymentResponse { payment: Some(self.payment(payment)) }))
    }

    async fn list_payments(
        &self,
        request: Request<ListPaymentsRequest>,
    ) -> Result<Response<ListPaymentsResponse>, Status> {
        let (merchant_id, order_id, page) = parse::list_payments(&request.into_inner())?;
        let rows = self.payments.list(merchant_id, order_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |payment| payment.id.uuid());
        let payments = rows.into_iter().map(|payment| self.payment(payment)).collect();
        Ok(Response::new(ListPaymentsResponse { payments, next_page_token }))
    }

    async fn sync_payment(
        &self,
        request: Request<SyncPaymentRequest>,
    ) -> Result<Response<SyncPaymentResponse>, Status> {
        let SyncPaymentRequest { merchant_id, payment_id } = request.into_inner();
        let (merchant_id, id) = parse::payment(&merchant_id, &payment_id)?;
        let payments = self.payments.clone();
        let payment = self.payments.to_the_end(async move { payments.sync(merchant_id, id).await }).await?;
        Ok(Response::new(SyncPaymentResponse { payment: Some(self.payment(payment)) }))
    }

    async fn close_payment(
        &self,
        request: Request<ClosePaymentRequest>,
    ) -> Result<Response<ClosePaymentResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, id) = parse::payment(&request.merchant_id, &request.payment_id)?;
        // The key is demanded as everywhere, but no answer is recorded under it: closing is idempotent by itself, and
        // an answer "in doubt" must not be repeated to who calls again.
        Call::new(&merchant_id, "ClosePayment", &metadata, &request)?;
        let payments = self.payments.clone();
        let payment = self.payments.to_the_end(async move { payments.close(merchant_id, id).await }).await?;
        Ok(Response::new(ClosePaymentResponse { payment: Some(self.payment(payment)) }))
    }

    async fn get_checkout(
        &self,
        request: Request<GetCheckoutRequest>,
    ) -> Result<Response<GetCheckoutResponse>, Status> {
        let id = parse::checkout(&request.into_inner())?;
        let payment = self.payments.checkout(id).await?;
        Ok(Response::new(convert::checkout(payment)))
    }
}

impl Rpc {
    fn payment(&self, payment: Payment) -> tael_proto::payment::v1::Payment {
        convert::payment(payment, &self.payments.settings().public_url)
    }
}

/// Whether a new payment's answer may be recorded. One that is in doubt has no QR code yet: who calls again is to have
/// it as soon as the channel's answer is known.
fn is_final(answer: &CreatePaymentResponse) -> bool {
    answer.payment.as_ref().is_some_and(|payment| {
        payment.state() != PaymentState::Created && payment.attempts.last().is_some_and(|a| !a.in_doubt)
    })
}
