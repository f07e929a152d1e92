//! Callbacks.

use tael_proto::payment::v1::callback_service_server::CallbackService;
use tael_proto::payment::v1::{HandleCallbackRequest, HandleCallbackResponse};
use tonic::{Request, Response, Status};

use super::{Rpc, parse};

#[tonic::async_trait]
impl CallbackService for Rpc {
    async fn handle_callback(
        &self,
        request: Request<HandleCallbackRequest>,
    ) -> Result<Response<HandleCallbackResponse>, Status> {
        let (channel, account_id, callback) = parse::callback(request.into_inner())?;
        let payments = self.payments.clone();
        let told = self
            .payments
            .to_the_end(async move { payments.handle_callback(&channel, account_id, callback).await })
            .await?;
        Ok(Response::new(HandleCallbackResponse {
            status: told.status,
            content_type: told.content_type.to_owned(),
            body: told.body.into(),
        }))
    }
}
