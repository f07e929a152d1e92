//! gRPC: a request becomes domain values (`parse`), a use case runs, its result goes on the wire (`convert`).

mod convert;
mod error;
mod parse;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use tael_idempotency::{Call, Idempotency};
use tael_proto::payment::v1::payment_service_server::PaymentService;
use tael_proto::payment::v1::{
    ClosePaymentRequest, ClosePaymentResponse, CreateChannelAccountRequest, CreateChannelAccountResponse,
    CreatePaymentRequest, CreatePaymentResponse, ErrorReason, GetChannelAccountRequest,
    GetChannelAccountResponse, GetCheckoutRequest, GetCheckoutResponse, GetPaymentRefundRequest,
    GetPaymentRefundResponse, GetPaymentRequest, GetPaymentResponse, HandleNotificationRequest,
    HandleNotificationResponse, ListAlarmsRequest, ListAlarmsResponse, ListChannelAccountsRequest,
    ListChannelAccountsResponse, ListPaymentsRequest, ListPaymentsResponse, PaymentState, ReadBillRequest,
    ReadBillResponse, RefundPaymentRequest, RefundPaymentResponse, SyncPaymentRequest, SyncPaymentResponse,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::usecase::Payments;

pub(crate) struct Rpc {
    payments: Payments,
    idempotency: Idempotency,
}

impl Rpc {
    pub(crate) fn new(payments: Payments, idempotency: Idempotency) -> Self {
        Self { payments, idempotency }
    }
}

#[tonic::async_trait]
impl PaymentService for Rpc {
    async fn create_channel_account(
        &self,
        request: Request<CreateChannelAccountRequest>,
    ) -> Result<Response<CreateChannelAccountResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let new = parse::new_account(&request, &self.payments.settings().egress)?;
        // Of the request, secrets included, only a hash is kept with the key.
        let call = Call::new(&new.merchant_id, "CreateChannelAccount", &metadata, &request)?;
        let payments = self.payments.clone();
        self.idempotency
            .run(call, move |guard| async move {
                let account = payments.create_account(new, guard).await?;
                Ok(CreateChannelAccountResponse { channel_account: Some(convert::account(account)) })
            })
            .await
    }

    async fn get_channel_account(
        &self,
        request: Request<GetChannelAccountRequest>,
    ) -> Result<Response<GetChannelAccountResponse>, Status> {
        let (merchant_id, id) = parse::get_account(&request.into_inner())?;
        let account = self.payments.account(merchant_id, id).await?;
        Ok(Response::new(GetChannelAccountResponse { channel_account: Some(convert::account(account)) }))
    }

    async fn list_channel_accounts(
        &self,
        request: Request<ListChannelAccountsRequest>,
    ) -> Result<Response<ListChannelAccountsResponse>, Status> {
        let (merchant_id, page) = parse::list_accounts(&request.into_inner())?;
        let rows = self.payments.accounts(merchant_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |account| account.id.uuid());
        let channel_accounts = rows.into_iter().map(convert::account).collect();
        Ok(Response::new(ListChannelAccountsResponse { channel_accounts, next_page_token }))
    }

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
        let payments = self.payments.clone();
        let response = self
            .idempotency
            .run_until_final(call, is_presented_or_ended, move |guard| async move {
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

    async fn handle_notification(
        &self,
        request: Request<HandleNotificationRequest>,
    ) -> Result<Response<HandleNotificationResponse>, Status> {
        let request = request.into_inner();
        let (channel, account_id) = parse::notification(&request)?;
        let payments = self.payments.clone();
        let told = self
            .payments
            .to_the_end(async move { payments.handle_notification(channel, account_id, &request.body).await })
            .await?;
        Ok(Response::new(HandleNotificationResponse {
            status: told.status,
            content_type: told.content_type.to_owned(),
            body: told.body.into(),
        }))
    }

    async fn get_checkout(
        &self,
        request: Request<GetCheckoutRequest>,
    ) -> Result<Response<GetCheckoutResponse>, Status> {
        let id = parse::checkout(&request.into_inner())?;
        let payment = self.payments.checkout(id).await?;
        Ok(Response::new(convert::checkout(payment)))
    }

    async fn list_alarms(
        &self,
        request: Request<ListAlarmsRequest>,
    ) -> Result<Response<ListAlarmsResponse>, Status> {
        let (merchant_id, page) = parse::list_alarms(&request.into_inner())?;
        let rows = self.payments.alarms(merchant_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |alarm| alarm.id.uuid());
        let alarms = rows.into_iter().map(convert::alarm).collect();
        Ok(Response::new(ListAlarmsResponse { alarms, next_page_token }))
    }

    type ReadBillStream = BoxStream<'static, Result<ReadBillResponse, Status>>;

    async fn read_bill(
        &self,
        request: Request<ReadBillRequest>,
    ) -> Result<Response<Self::ReadBillStream>, Status> {
        let (merchant_id, account_id, day) = parse::read_bill(&request.into_inner())?;
        let parts = self.payments.read_bill(merchant_id, account_id, day).await?;
        let stream = ReceiverStream::new(parts).map(|part| match part {
            Ok(lines) => Ok(ReadBillResponse { lines: lines.into_iter().map(convert::bill_line).collect() }),
            Err(error) => Err(error.into()),
        });
        Ok(Response::new(stream.boxed()))
    }
}

impl Rpc {
    fn payment(&self, payment: crate::domain::payment::Payment) -> tael_proto::payment::v1::Payment {
        convert::payment(payment, &self.payments.settings().public_url)
    }
}

/// Whether a new payment's answer may be recorded. One that is in doubt has no QR code yet: who calls again is to have
/// it as soon as the channel's answer is known.
fn is_presented_or_ended(answer: &CreatePaymentResponse) -> bool {
    answer.payment.as_ref().is_some_and(|payment| {
        payment.state() != PaymentState::Created && payment.attempts.last().is_some_and(|a| !a.in_doubt)
    })
}
