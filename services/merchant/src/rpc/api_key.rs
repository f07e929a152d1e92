//! `ApiKeyService`.

use secrecy::ExposeSecret as _;
use tael_grpc::convert as wire_convert;
use tael_idempotency::{Call, Idempotency};
use tael_proto::merchant::v1::api_key_service_server::ApiKeyService;
use tael_proto::merchant::v1::{
    AuthenticateApiKeyRequest, AuthenticateApiKeyResponse, ExchangeApiKeyRequest, ExchangeApiKeyResponse,
    IssueApiKeyRequest, IssueApiKeyResponse, RevokeApiKeyRequest, RevokeApiKeyResponse,
};
use tonic::{Request, Response, Status};

use super::{convert, parse};
use crate::usecase::ApiKeys;

/// The service on the wire.
#[derive(Debug)]
pub(crate) struct ApiKeyRpc {
    pub(crate) keys: ApiKeys,
    pub(crate) idempotency: Idempotency,
}

#[tonic::async_trait]
impl ApiKeyService for ApiKeyRpc {
    async fn issue_api_key(
        &self,
        request: Request<IssueApiKeyRequest>,
    ) -> Result<Response<IssueApiKeyResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, label) = parse::issue_api_key(&request)?;
        let call = Call::new(&merchant_id, "IssueApiKey", &metadata, &request)?;
        // The database guard alone: the answer holds a secret, which must not be recorded in Redis.
        let (key, secret) = self.keys.issue(merchant_id, label, call.guard()).await?;
        Ok(Response::new(IssueApiKeyResponse {
            api_key: Some(convert::api_key(key)),
            secret: secret.map(|s| s.reveal()).unwrap_or_default(),
        }))
    }

    async fn authenticate_api_key(
        &self,
        request: Request<AuthenticateApiKeyRequest>,
    ) -> Result<Response<AuthenticateApiKeyResponse>, Status> {
        let secret = parse::secret(request.into_inner().secret)?;
        let (merchant, key) = self.keys.authenticate(secret).await?;
        Ok(Response::new(AuthenticateApiKeyResponse {
            merchant: Some(convert::merchant(merchant)),
            api_key_id: key.to_string(),
        }))
    }

    async fn exchange_api_key(
        &self,
        request: Request<ExchangeApiKeyRequest>,
    ) -> Result<Response<ExchangeApiKeyResponse>, Status> {
        let secret = parse::secret(request.into_inner().secret)?;
        let (key, token) = self.keys.exchange(secret).await?;
        Ok(Response::new(ExchangeApiKeyResponse {
            token: token.text.expose_secret().to_owned(),
            expire_time: Some(wire_convert::timestamp(token.expire_time)),
            merchant_id: key.merchant_id.to_string(),
            api_key_id: key.id.to_string(),
        }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<RevokeApiKeyRequest>,
    ) -> Result<Response<RevokeApiKeyResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let (merchant_id, key_id) = parse::revoke_api_key(&request)?;
        let call = Call::new(&merchant_id, "RevokeApiKey", &metadata, &request)?;
        let keys = self.keys.clone();
        self.idempotency
            .run(call, move |_| async move {
                let key = keys.revoke(merchant_id, key_id).await?;
                Ok(RevokeApiKeyResponse { api_key: Some(convert::api_key(key)) })
            })
            .await
    }
}
