//! Promotions.

use tael_idempotency::Call;
use tael_proto::order::v1::promotion_service_server::PromotionService;
use tael_proto::order::v1::{
    CreatePromotionRequest, CreatePromotionResponse, EndPromotionRequest, EndPromotionResponse,
    ListPromotionsRequest, ListPromotionsResponse,
};
use tonic::{Request, Response, Status};

use super::{Rpc, convert, parse};

#[tonic::async_trait]
impl PromotionService for Rpc {
    async fn create_promotion(
        &self,
        request: Request<CreatePromotionRequest>,
    ) -> Result<Response<CreatePromotionResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, name, threshold, saving) = parse::create_promotion(&request)?;
        let call = Call::new(&merchant_id, "CreatePromotion", &metadata, &request)?;
        let orders = self.orders.clone();
        self.idempotency
            .run(call, move |key| async move {
                let promotion = orders.create_promotion(merchant_id, name, threshold, saving, key).await?;
                Ok(CreatePromotionResponse { promotion: Some(convert::promotion(promotion)) })
            })
            .await
    }

    async fn list_promotions(
        &self,
        request: Request<ListPromotionsRequest>,
    ) -> Result<Response<ListPromotionsResponse>, Status> {
        let (merchant_id, page) = parse::list_promotions(&request.into_inner())?;
        let rows = self.orders.list_promotions(merchant_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |promotion| promotion.id.uuid());
        let promotions = rows.into_iter().map(convert::promotion).collect();
        Ok(Response::new(ListPromotionsResponse { promotions, next_page_token }))
    }

    async fn end_promotion(
        &self,
        request: Request<EndPromotionRequest>,
    ) -> Result<Response<EndPromotionResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, id) = parse::end_promotion(&request)?;
        let call = Call::new(&merchant_id, "EndPromotion", &metadata, &request)?;
        let orders = self.orders.clone();
        self.idempotency
            .run(call, move |_| async move {
                let promotion = orders.end_promotion(merchant_id, id).await?;
                Ok(EndPromotionResponse { promotion: Some(convert::promotion(promotion)) })
            })
            .await
    }
}
