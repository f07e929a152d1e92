//! The ledger over gRPC.

use tael_grpc::fields::Fields;
use tael_grpc::page::Page;
use tael_ids::{MerchantId, PaymentId};
use tael_proto::settlement::v1::ledger_service_server::LedgerService;
use tael_proto::settlement::v1::{
    CheckLedgerRequest, CheckLedgerResponse, ListAccountsRequest, ListAccountsResponse, ListTransfersRequest,
    ListTransfersResponse,
};
use tonic::{Request, Response, Status};

use super::convert::{to_account, to_check, to_transfer};
use crate::usecase::Settlement;

pub(crate) struct LedgerRpc {
    pub(crate) settlement: Settlement,
}

#[tonic::async_trait]
impl LedgerService for LedgerRpc {
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

    async fn check_ledger(
        &self,
        _request: Request<CheckLedgerRequest>,
    ) -> Result<Response<CheckLedgerResponse>, Status> {
        Ok(Response::new(to_check(self.settlement.check_ledger().await?)))
    }
}
