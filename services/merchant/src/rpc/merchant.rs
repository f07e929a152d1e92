//! `MerchantService`.

use tael_grpc::fields::Fields;
use tael_grpc::page::Page;
use tael_idempotency::{Call, Idempotency};
use tael_proto::merchant::v1::merchant_service_server::MerchantService;
use tael_proto::merchant::v1::{
    ApproveMerchantRequest, ApproveMerchantResponse, GetMerchantRequest, GetMerchantResponse,
    ListMerchantsRequest, ListMerchantsResponse, RegisterMerchantRequest, RegisterMerchantResponse,
};
use tonic::{Request, Response, Status};

use super::{convert, parse};
use crate::usecase::Merchants;

/// Whose idempotency keys are those of calls that no merchant makes.
const OPERATOR: &str = "operator";

/// The service on the wire.
#[derive(Debug)]
pub(crate) struct MerchantRpc {
    pub(crate) merchants: Merchants,
    pub(crate) idempotency: Idempotency,
}

#[tonic::async_trait]
impl MerchantService for MerchantRpc {
    async fn register_merchant(
        &self,
        request: Request<RegisterMerchantRequest>,
    ) -> Result<Response<RegisterMerchantResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (name, time_zone) = parse::registration(&request)?;
        let call = Call::new(&OPERATOR, "RegisterMerchant", &metadata, &request)?;
        let merchants = self.merchants.clone();
        self.idempotency
            .run(call, move |key| async move {
                let merchant = merchants.register(name, time_zone, key).await?;
                Ok(RegisterMerchantResponse { merchant: Some(convert::merchant(merchant)) })
            })
            .await
    }

    async fn approve_merchant(
        &self,
        request: Request<ApproveMerchantRequest>,
    ) -> Result<Response<ApproveMerchantResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let merchant_id = parse::merchant_id(&request.merchant_id)?;
        let call = Call::new(&OPERATOR, "ApproveMerchant", &metadata, &request)?;
        let merchants = self.merchants.clone();
        self.idempotency
            .run(call, move |_| async move {
                let merchant = merchants.approve(merchant_id).await?;
                Ok(ApproveMerchantResponse { merchant: Some(convert::merchant(merchant)) })
            })
            .await
    }

    async fn get_merchant(
        &self,
        request: Request<GetMerchantRequest>,
    ) -> Result<Response<GetMerchantResponse>, Status> {
        let id = parse::merchant_id(&request.into_inner().merchant_id)?;
        let merchant = self.merchants.get(id).await?;
        Ok(Response::new(GetMerchantResponse { merchant: Some(convert::merchant(merchant)) }))
    }

    async fn list_merchants(
        &self,
        request: Request<ListMerchantsRequest>,
    ) -> Result<Response<ListMerchantsResponse>, Status> {
        let request = request.into_inner();
        let mut fields = Fields::default();
        let page = Page::parse(&mut fields, request.page_size, &request.page_token, &["ListMerchants"]);
        let page = fields.finish(|| page)?;
        let rows = self.merchants.list(page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |merchant| merchant.id.uuid());
        let merchants = rows.into_iter().map(convert::merchant).collect();
        Ok(Response::new(ListMerchantsResponse { merchants, next_page_token }))
    }
}
