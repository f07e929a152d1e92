//! Channel accounts.

use tael_idempotency::Call;
use tael_proto::payment::v1::channel_account_service_server::ChannelAccountService;
use tael_proto::payment::v1::{
    ActivateChannelAccountRequest, ActivateChannelAccountResponse, AddChannelCredentialRequest,
    AddChannelCredentialResponse, CreateChannelAccountRequest, CreateChannelAccountResponse,
    DisableChannelAccountRequest, DisableChannelAccountResponse, GetChannelAccountRequest,
    GetChannelAccountResponse, ListChannelAccountsRequest, ListChannelAccountsResponse,
    RetireChannelCredentialRequest, RetireChannelCredentialResponse, TestChannelAccountRequest,
    TestChannelAccountResponse,
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
        let GetChannelAccountRequest { merchant_id, channel_account_id } = request.into_inner();
        let (merchant_id, id) = parse::account(&merchant_id, &channel_account_id)?;
        let account = self.payments.account(merchant_id, id).await?;
        Ok(Response::new(GetChannelAccountResponse { channel_account: Some(convert::account(account)) }))
    }

    async fn list_channel_accounts(
        &self,
        request: Request<ListChannelAccountsRequest>,
    ) -> Result<Response<ListChannelAccountsResponse>, Status> {
        let (merchant_id, page) = parse::list_accounts(&request.into_inner())?;
        let rows = self.payments.accounts(merchant_id, page.after, page.limit()).await?;
        let (rows, next_page_token) = page.cut(rows, |known| known.account.id.uuid());
        let channel_accounts = rows.into_iter().map(convert::account).collect();
        Ok(Response::new(ListChannelAccountsResponse { channel_accounts, next_page_token }))
    }

    async fn test_channel_account(
        &self,
        request: Request<TestChannelAccountRequest>,
    ) -> Result<Response<TestChannelAccountResponse>, Status> {
        let (merchant_id, id, credential_id) = parse::test_account(&request.into_inner())?;
        let payments = self.payments.clone();
        let test = async move { payments.test_account(merchant_id, id, credential_id).await };
        let (account, problem) = self.payments.to_the_end(test).await?;
        Ok(Response::new(TestChannelAccountResponse {
            channel_account: Some(convert::account(account)),
            passed: problem.is_none(),
            problem: problem.unwrap_or_default(),
        }))
    }

    async fn activate_channel_account(
        &self,
        request: Request<ActivateChannelAccountRequest>,
    ) -> Result<Response<ActivateChannelAccountResponse>, Status> {
        let ActivateChannelAccountRequest { merchant_id, channel_account_id } = request.into_inner();
        let (merchant_id, id) = parse::account(&merchant_id, &channel_account_id)?;
        let account = self.payments.activate_account(merchant_id, id).await?;
        Ok(Response::new(ActivateChannelAccountResponse { channel_account: Some(convert::account(account)) }))
    }

    async fn disable_channel_account(
        &self,
        request: Request<DisableChannelAccountRequest>,
    ) -> Result<Response<DisableChannelAccountResponse>, Status> {
        let DisableChannelAccountRequest { merchant_id, channel_account_id } = request.into_inner();
        let (merchant_id, id) = parse::account(&merchant_id, &channel_account_id)?;
        let account = self.payments.disable_account(merchant_id, id).await?;
        Ok(Response::new(DisableChannelAccountResponse { channel_account: Some(convert::account(account)) }))
    }

    async fn add_channel_credential(
        &self,
        request: Request<AddChannelCredentialRequest>,
    ) -> Result<Response<AddChannelCredentialResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let new = parse::new_credential(&request)?;
        let call = Call::new(&new.merchant_id, "AddChannelCredential", &metadata, &request)?;
        let payments = self.payments.clone();
        self.idempotency
            .run(call, move |guard| async move {
                let (account, id) = payments.add_credential(new, guard).await?;
                Ok(AddChannelCredentialResponse {
                    channel_account: Some(convert::account(account)),
                    channel_credential_id: id.to_string(),
                })
            })
            .await
    }

    async fn retire_channel_credential(
        &self,
        request: Request<RetireChannelCredentialRequest>,
    ) -> Result<Response<RetireChannelCredentialResponse>, Status> {
        let (merchant_id, id, credential_id) = parse::retire_credential(&request.into_inner())?;
        let account = self.payments.retire_credential(merchant_id, id, credential_id).await?;
        Ok(Response::new(RetireChannelCredentialResponse {
            channel_account: Some(convert::account(account)),
        }))
    }
}
