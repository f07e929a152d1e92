//! gRPC: a request becomes domain values, a use case runs, its result goes on the wire.

mod audit;
mod convert;
mod request;
mod status;

use tael_grpc::fields::Fields;
use tael_grpc::page::Page;
use tael_idempotency::{Call, Idempotency};
use tael_ids::{BatchId, ChannelAccountId, MerchantId, PaymentId, ReconciliationId};
use tael_proto::settlement::v1::settlement_service_server::SettlementService;
use tael_proto::settlement::v1::{
    CheckLedgerRequest, CheckLedgerResponse, CloseBatchRequest, CloseBatchResponse, ErrorReason,
    GetBatchRequest, GetBatchResponse, GetFeeSchedulesRequest, GetFeeSchedulesResponse,
    GetReconciliationRequest, GetReconciliationResponse, GetStatementRequest, GetStatementResponse,
    ListAccountsRequest, ListAccountsResponse, ListBatchesRequest, ListBatchesResponse, ListTransfersRequest,
    ListTransfersResponse, ReconcileRequest, ReconcileResponse, SetFeeScheduleRequest,
    SetFeeScheduleResponse,
};
use tonic::{Request, Response, Status};

pub(crate) use self::audit::AuditRpc;
use crate::rpc::convert::{
    to_account, to_batch, to_check, to_fee_schedule, to_line, to_reconciliation, to_transfer,
};
use crate::usecase::Settlement;

/// The bounds of a statement's pages, which are larger than those of other lists.
const STATEMENT_PAGE: u32 = 500;
const MAX_STATEMENT_PAGE: u32 = 1000;

pub(crate) struct Rpc {
    settlement: Settlement,
    idempotency: Idempotency,
}

impl Rpc {
    pub(crate) fn new(settlement: Settlement, idempotency: Idempotency) -> Self {
        Self { settlement, idempotency }
    }
}

#[tonic::async_trait]
impl SettlementService for Rpc {
    async fn set_fee_schedule(
        &self,
        request: Request<SetFeeScheduleRequest>,
    ) -> Result<Response<SetFeeScheduleResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let schedule = request::fee_schedule(&mut fields, request.fee_schedule.as_ref());
        let (merchant_id, schedule) = fields.finish(|| Some((merchant_id?, schedule?)))?;
        let call = Call::new(&merchant_id, "SetFeeSchedule", &metadata, &request)?;
        let settlement = self.settlement.clone();
        self.idempotency
            .run(call, move |guard| async move {
                let schedule = settlement.set_fee_schedule(merchant_id, schedule, guard).await?;
                Ok(SetFeeScheduleResponse { fee_schedule: Some(to_fee_schedule(&schedule)) })
            })
            .await
    }

    async fn get_fee_schedules(
        &self,
        request: Request<GetFeeSchedulesRequest>,
    ) -> Result<Response<GetFeeSchedulesResponse>, Status> {
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.get_ref().merchant_id);
        let merchant_id = fields.finish(|| merchant_id)?;
        let schedules = self.settlement.fee_schedules(merchant_id).await?;
        let fee_schedules = schedules.iter().map(to_fee_schedule).collect();
        Ok(Response::new(GetFeeSchedulesResponse { fee_schedules }))
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.get_ref().merchant_id);
        let merchant_id = fields.finish(|| merchant_id)?;
        let accounts = self.settlement.accounts(merchant_id).await?.iter().map(to_account).collect();
        Ok(Response::new(ListAccountsResponse { accounts }))
    }

    async fn list_transfers(
        &self,
        request: Request<ListTransfersRequest>,
    ) -> Result<Response<ListTransfersResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let payment_id = fields.optional_id::<PaymentId>("payment_id", &request.payment_id);
        let scope = ["ListTransfers", request.merchant_id.as_str(), request.payment_id.as_str()];
        let page = Page::parse(&mut fields, request.page_size, &request.page_token, &scope);
        let (merchant_id, payment_id, page) = fields.finish(|| Some((merchant_id?, payment_id?, page?)))?;
        let rows = self.settlement.transfers(merchant_id, payment_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |transfer| transfer.id.uuid());
        let transfers = rows.iter().map(to_transfer).collect();
        Ok(Response::new(ListTransfersResponse { transfers, next_page_token }))
    }

    async fn close_batch(
        &self,
        request: Request<CloseBatchRequest>,
    ) -> Result<Response<CloseBatchResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let currency = fields.currency("currency", &request.currency);
        let cut_off =
            request::cut_off_time(&mut fields, request.cut_off_time.as_ref(), self.settlement.now());
        let (merchant_id, currency, cut_off) = fields.finish(|| Some((merchant_id?, currency?, cut_off?)))?;
        // What is to be settled may be on its way here.
        let call = Call::new(&merchant_id, "CloseBatch", &metadata, &request)?
            .retryable_reasons([ErrorReason::NothingToSettle.as_str_name()]);
        let settlement = self.settlement.clone();
        self.idempotency
            .run(call, move |guard| async move {
                let batch = settlement.close_batch(merchant_id, currency, cut_off, guard).await?;
                Ok(CloseBatchResponse { batch: Some(to_batch(&batch)) })
            })
            .await
    }

    async fn get_batch(
        &self,
        request: Request<GetBatchRequest>,
    ) -> Result<Response<GetBatchResponse>, Status> {
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.get_ref().merchant_id);
        let id = fields.id::<BatchId>("batch_id", &request.get_ref().batch_id);
        let (merchant_id, id) = fields.finish(|| Some((merchant_id?, id?)))?;
        let batch = self.settlement.batch(merchant_id, id).await?;
        Ok(Response::new(GetBatchResponse { batch: Some(to_batch(&batch)) }))
    }

    async fn list_batches(
        &self,
        request: Request<ListBatchesRequest>,
    ) -> Result<Response<ListBatchesResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let scope = ["ListBatches", request.merchant_id.as_str()];
        let page = Page::parse(&mut fields, request.page_size, &request.page_token, &scope);
        let (merchant_id, page) = fields.finish(|| Some((merchant_id?, page?)))?;
        let rows = self.settlement.batches(merchant_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |batch| batch.id.uuid());
        let batches = rows.iter().map(to_batch).collect();
        Ok(Response::new(ListBatchesResponse { batches, next_page_token }))
    }

    async fn get_statement(
        &self,
        request: Request<GetStatementRequest>,
    ) -> Result<Response<GetStatementResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let id = fields.id::<BatchId>("batch_id", &request.batch_id);
        let page = Page::parse_sized(
            &mut fields,
            request.page_size,
            &request.page_token,
            &["GetStatement", &request.merchant_id, &request.batch_id],
            STATEMENT_PAGE,
            MAX_STATEMENT_PAGE,
        );
        let (merchant_id, id, page) = fields.finish(|| Some((merchant_id?, id?, page?)))?;
        let (batch, rows) = self.settlement.statement(merchant_id, id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |line| line.transfer_id.uuid());
        let lines = rows.iter().map(to_line).collect::<Result<_, _>>()?;
        Ok(Response::new(GetStatementResponse { batch: Some(to_batch(&batch)), lines, next_page_token }))
    }

    async fn reconcile(
        &self,
        request: Request<ReconcileRequest>,
    ) -> Result<Response<ReconcileResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let account_id = fields.id::<ChannelAccountId>("channel_account_id", &request.channel_account_id);
        let date = request::bill_date(&mut fields, &request.bill_date);
        let (merchant_id, account_id, date) = fields.finish(|| Some((merchant_id?, account_id?, date?)))?;
        // The channel makes its bill of a day later.
        let call = Call::new(&merchant_id, "Reconcile", &metadata, &request)?
            .retryable_reasons([ErrorReason::BillNotAvailable.as_str_name()]);
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

    async fn check_ledger(
        &self,
        _request: Request<CheckLedgerRequest>,
    ) -> Result<Response<CheckLedgerResponse>, Status> {
        Ok(Response::new(to_check(self.settlement.check_ledger().await?)))
    }
}
