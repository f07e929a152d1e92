//! Settlement batches and their statements over gRPC.

use tael_grpc::fields::Fields;
use tael_grpc::page::Page;
use tael_idempotency::{Call, Idempotency};
use tael_ids::{BatchId, MerchantId};
use tael_proto::settlement::v1::settlement_batch_service_server::SettlementBatchService;
use tael_proto::settlement::v1::{
    CloseBatchRequest, CloseBatchResponse, ErrorReason, GetBatchRequest, GetBatchResponse,
    GetStatementRequest, GetStatementResponse, ListBatchesRequest, ListBatchesResponse,
};
use tonic::{Request, Response, Status};

use super::convert::{to_batch, to_line};
use super::parse;
use crate::usecase::Settlement;

/// The bounds of a statement's pages, which are larger than those of other lists.
const STATEMENT_PAGE: u32 = 500;
const MAX_STATEMENT_PAGE: u32 = 1000;

pub(crate) struct SettlementBatchRpc {
    pub(crate) settlement: Settlement,
    pub(crate) idempotency: Idempotency,
}

#[tonic::async_trait]
impl SettlementBatchService for SettlementBatchRpc {
    async fn close_batch(
        &self,
        request: Request<CloseBatchRequest>,
    ) -> Result<Response<CloseBatchResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let currency = fields.currency("currency", &request.currency);
        let cut_off = parse::cut_off_time(&mut fields, request.cut_off_time.as_ref(), self.settlement.now());
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
}
