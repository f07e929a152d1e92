//! Channel accounts.

use tael_idempotency::Call;
use tael_proto::payment::v1::channel_account_service_server::ChannelAccountService;
use tael_proto::payment::v1::{
    CreateChannelAccountRequest, CreateChannelAccountResponse, GetChannelAccountRequest,
    GetChannelAccountResponse, ListChannelAccountsRequest, ListChannelAccountsResponse,
};
use tonic::{Request, Response, Status};

use super::{Rpc, convert, parse};

#[tonic::async_trait]
impl ChannelAccountService for Rpc {
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
}
