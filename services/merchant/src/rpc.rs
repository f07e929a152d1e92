//! gRPC: a request becomes domain values, a use case runs, its result goes on the wire.

use tael_grpc::fields::Fields;
use tael_grpc::page::Page;
use tael_grpc::{convert, status};
use tael_idempotency::{Call, Idempotency};
use tael_ids::{ApiKeyId, MerchantId};
use tael_proto::merchant::v1::merchant_service_server::MerchantService;
use tael_proto::merchant::v1::{
    self as wire, ApproveMerchantRequest, ApproveMerchantResponse, AuthenticateApiKeyRequest,
    AuthenticateApiKeyResponse, ErrorReason, GetMerchantRequest, GetMerchantResponse, IssueApiKeyRequest,
    IssueApiKeyResponse, ListMerchantsRequest, ListMerchantsResponse, RegisterMerchantRequest,
    RegisterMerchantResponse, RevokeApiKeyRequest, RevokeApiKeyResponse,
};
use tonic::{Code, Request, Response, Status};

use crate::domain::api_key::{ApiKey, Secret};
use crate::domain::merchant::{Merchant, State};
use crate::usecase::{Error, Merchants};

const DOMAIN: &str = "tael.merchant";
const OPERATOR: &str = "operator";
const DEFAULT_TIME_ZONE: &str = "Asia/Shanghai";

pub(crate) struct Rpc {
    merchants: Merchants,
    idempotency: Idempotency,
}

impl Rpc {
    pub(crate) fn new(merchants: Merchants, idempotency: Idempotency) -> Self {
        Self { merchants, idempotency }
    }
}

#[tonic::async_trait]
impl MerchantService for Rpc {
    async fn register_merchant(
        &self,
        request: Request<RegisterMerchantRequest>,
    ) -> Result<Response<RegisterMerchantResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut fields = Fields::default();
        let name = fields.text("name", &request.name, 1..=128);
        let time_zone = time_zone(&mut fields, &request.time_zone);
        let (name, time_zone) = fields.finish(|| Some((name?, time_zone?)))?;
        let call = Call::new(&OPERATOR, "RegisterMerchant", &metadata, &request)?;
        let merchants = self.merchants.clone();
        self.idempotency
            .run(call, move |guard| async move {
                let merchant = merchants.register(name, time_zone, guard).await?;
                Ok(RegisterMerchantResponse { merchant: Some(to_merchant(merchant)) })
            })
            .await
    }

    async fn approve_merchant(
        &self,
        request: Request<ApproveMerchantRequest>,
    ) -> Result<Response<ApproveMerchantResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let merchant_id = merchant_id(&request.merchant_id)?;
        let call = Call::new(&OPERATOR, "ApproveMerchant", &metadata, &request)?;
        let merchants = self.merchants.clone();
        self.idempotency
            .run(call, move |_| async move {
                let merchant = merchants.approve(merchant_id).await?;
                Ok(ApproveMerchantResponse { merchant: Some(to_merchant(merchant)) })
            })
            .await
    }

    async fn get_merchant(
        &self,
        request: Request<GetMerchantRequest>,
    ) -> Result<Response<GetMerchantResponse>, Status> {
        let id = merchant_id(&request.into_inner().merchant_id)?;
        let merchant = self.merchants.get(id).await?;
        Ok(Response::new(GetMerchantResponse { merchant: Some(to_merchant(merchant)) }))
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
        let merchants = rows.into_iter().map(to_merchant).collect();
        Ok(Response::new(ListMerchantsResponse { merchants, next_page_token }))
    }

    async fn issue_api_key(
        &self,
        request: Request<IssueApiKeyRequest>,
    ) -> Result<Response<IssueApiKeyResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let label = fields.text("label", &request.label, 0..=64);
        let (merchant_id, label) = fields.finish(|| Some((merchant_id?, label?)))?;
        let call = Call::new(&merchant_id, "IssueApiKey", &metadata, &request)?;
        // The database guard alone: the answer holds a secret, which must not be recorded in Redis.
        let (key, secret) = self.merchants.issue_api_key(merchant_id, label, call.guard()).await?;
        Ok(Response::new(IssueApiKeyResponse {
            api_key: Some(to_api_key(key)),
            secret: secret.map(|s| s.reveal()).unwrap_or_default(),
        }))
    }

    async fn authenticate_api_key(
        &self,
        request: Request<AuthenticateApiKeyRequest>,
    ) -> Result<Response<AuthenticateApiKeyResponse>, Status> {
        let secret = request.into_inner().secret;
        if secret.is_empty() {
            return Err(status::invalid_field("secret", "is missing"));
        }
        let (merchant, key) = self.merchants.authenticate(Secret::shown(secret)).await?;
        Ok(Response::new(AuthenticateApiKeyResponse {
            merchant: Some(to_merchant(merchant)),
            api_key_id: key.to_string(),
        }))
    }

    async fn revoke_api_key(
        &self,
        request: Request<RevokeApiKeyRequest>,
    ) -> Result<Response<RevokeApiKeyResponse>, Status> {
        let (metadata, _, request) = request.into_parts();
        let mut fields = Fields::default();
        let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
        let key_id = fields.id::<ApiKeyId>("api_key_id", &request.api_key_id);
        let (merchant_id, key_id) = fields.finish(|| Some((merchant_id?, key_id?)))?;
        let call = Call::new(&merchant_id, "RevokeApiKey", &metadata, &request)?;
        let merchants = self.merchants.clone();
        self.idempotency
            .run(call, move |_| async move {
                let key = merchants.revoke_api_key(merchant_id, key_id).await?;
                Ok(RevokeApiKeyResponse { api_key: Some(to_api_key(key)) })
            })
            .await
    }
}

fn merchant_id(text: &str) -> Result<MerchantId, Status> {
    let mut fields = Fields::default();
    let id = fields.id::<MerchantId>("merchant_id", text);
    fields.finish(|| id)
}

fn time_zone(fields: &mut Fields, name: &str) -> Option<String> {
    let name = if name.is_empty() { DEFAULT_TIME_ZONE } else { name };
    if jiff::tz::TimeZone::get(name).is_err() {
        return fields.bad("time_zone", "is not an IANA time zone");
    }
    Some(name.to_owned())
}

fn to_merchant(merchant: Merchant) -> wire::Merchant {
    let (state, approve_time) = match merchant.state {
        State::PendingApproval => (wire::MerchantState::PendingApproval, None),
        State::Approved { at } => (wire::MerchantState::Approved, Some(convert::timestamp(at))),
    };
    wire::Merchant {
        merchant_id: merchant.id.to_string(),
        name: merchant.name,
        state: state.into(),
        time_zone: merchant.time_zone,
        create_time: Some(convert::timestamp(merchant.create_time)),
        approve_time,
    }
}

fn to_api_key(key: ApiKey) -> wire::ApiKey {
    wire::ApiKey {
        api_key_id: key.id.to_string(),
        merchant_id: key.merchant_id.to_string(),
        label: key.label,
        create_time: Some(convert::timestamp(key.create_time)),
        revoke_time: key.revoke_time.map(convert::timestamp),
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let reply = |code, reason: ErrorReason, metadata: &[(&'static str, String)]| {
            status::error(code, DOMAIN, reason.as_str_name(), message.clone(), metadata.iter().cloned())
        };
        match &error {
            Error::MerchantNotFound(id) => {
                reply(Code::NotFound, ErrorReason::MerchantNotFound, &[("merchant_id", id.to_string())])
            }
            Error::ApiKeyNotFound(id) => {
                reply(Code::NotFound, ErrorReason::ApiKeyNotFound, &[("api_key_id", id.to_string())])
            }
            Error::ApiKeyInvalid => reply(Code::Unauthenticated, ErrorReason::ApiKeyInvalid, &[]),
            Error::KeyReused(status) => status.clone(),
            Error::Database(e) => tael_postgres::status(e),
            Error::RowVanished | Error::Randomness(_) => status::broken_invariant(&error),
        }
    }
}
