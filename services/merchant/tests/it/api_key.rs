use tael_clock::Clock;
use tael_grpc::status::{bad_fields, reason};
use tael_ids::{ApiKeyId, MerchantId};
use tael_principal::{Kind, Verifier};
use tael_proto::merchant::v1::{
    AuthenticateApiKeyRequest, ExchangeApiKeyRequest, GetMerchantRequest, IssueApiKeyRequest,
    ListMerchantsRequest, RevokeApiKeyRequest,
};
use tael_testkit::{keyed, new_key, with_key};
use tonic::{Code, Request};

use crate::fixture::start;

fn issue(merchant_id: &str) -> IssueApiKeyRequest {
    IssueApiKeyRequest { merchant_id: merchant_id.to_owned(), label: "till".to_owned() }
}

#[tokio::test]
async fn a_secret_authenticates_until_it_is_revoked() {
    let mut service = start().await;
    let merchant = service.register("Shop").await;
    let issued = service.keys.issue_api_key(keyed(issue(&merchant.merchant_id))).await.unwrap().into_inner();
    let key = issued.api_key.unwrap();
    assert!(issued.secret.starts_with("sk_"));

    let show = AuthenticateApiKeyRequest { secret: issued.secret.clone() };
    let whose = service.keys.authenticate_api_key(show.clone()).await.unwrap().into_inner();
    assert_eq!(whose.merchant.unwrap(), merchant);
    assert_eq!(whose.api_key_id, key.api_key_id);

    let revoke =
        RevokeApiKeyRequest { merchant_id: merchant.merchant_id.clone(), api_key_id: key.api_key_id.clone() };
    let first = service.keys.revoke_api_key(keyed(revoke.clone())).await.unwrap().into_inner();
    let second = service.keys.revoke_api_key(keyed(revoke)).await.unwrap().into_inner();
    assert!(first.api_key.as_ref().unwrap().revoke_time.is_some());
    assert_eq!(first, second);

    let error = service.keys.authenticate_api_key(show).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_deref()), (Code::Unauthenticated, Some("API_KEY_INVALID")));
}

#[tokio::test]
async fn a_secret_is_told_once_and_its_key_is_made_once() {
    let mut service = start().await;
    let merchant_id = service.register("Shop").await.merchant_id;
    let key = new_key();
    let first = service.keys.issue_api_key(with_key(&key, issue(&merchant_id))).await.unwrap().into_inner();
    let second = service.keys.issue_api_key(with_key(&key, issue(&merchant_id))).await.unwrap().into_inner();
    assert_eq!(second.api_key, first.api_key);
    assert_eq!(second.secret, "");
}

#[tokio::test]
async fn what_is_wrong_with_a_key_is_said() {
    let mut service = start().await;
    let merchant = service.register("Shop").await.merchant_id;
    let other = service.register("Other shop").await.merchant_id;

    let long = IssueApiKeyRequest { merchant_id: merchant.clone(), label: "x".repeat(65) };
    assert_eq!(bad_fields(&service.keys.issue_api_key(keyed(long)).await.unwrap_err()), ["label"]);
    let unknown = issue(&MerchantId::new().to_string());
    let error = service.keys.issue_api_key(keyed(unknown)).await.unwrap_err();
    assert_eq!(reason(&error).as_deref(), Some("MERCHANT_NOT_FOUND"));

    let issued = service.keys.issue_api_key(keyed(issue(&merchant))).await.unwrap().into_inner();
    let key_id = issued.api_key.unwrap().api_key_id;
    for (merchant_id, api_key_id) in [(&other, &key_id), (&merchant, &ApiKeyId::new().to_string())] {
        let revoke = RevokeApiKeyRequest { merchant_id: merchant_id.clone(), api_key_id: api_key_id.clone() };
        let error = service.keys.revoke_api_key(keyed(revoke)).await.unwrap_err();
        assert_eq!((error.code(), reason(&error).as_deref()), (Code::NotFound, Some("API_KEY_NOT_FOUND")));
    }

    let empty = AuthenticateApiKeyRequest::default();
    assert_eq!(bad_fields(&service.keys.authenticate_api_key(empty).await.unwrap_err()), ["secret"]);
    let wrong = AuthenticateApiKeyRequest { secret: "sk_guessed".into() };
    assert_eq!(service.keys.authenticate_api_key(wrong).await.unwrap_err().code(), Code::Unauthenticated);
}

fn under<T>(token: &str, message: T) -> Request<T> {
    let mut request = keyed(message);
    request.metadata_mut().insert(tael_principal::METADATA, token.parse().unwrap());
    request
}

#[tokio::test]
async fn a_secret_is_exchanged_for_a_token_of_its_merchant() {
    let mut service = start().await;
    let merchant_id = service.register("Shop").await.merchant_id;
    let other = service.register("Other shop").await.merchant_id;
    let issued = service.keys.issue_api_key(keyed(issue(&merchant_id))).await.unwrap().into_inner();
    let exchange = ExchangeApiKeyRequest { secret: issued.secret.clone() };
    let answer = service.keys.exchange_api_key(exchange.clone()).await.unwrap().into_inner();
    let key_id = issued.api_key.unwrap().api_key_id;
    assert_eq!((&answer.merchant_id, &answer.api_key_id), (&merchant_id, &key_id));

    let principal =
        Verifier::new(service.principal_keys.clone(), Clock::system()).verify(&answer.token).unwrap();
    assert_eq!((&principal.subject, principal.kind), (&key_id, Kind::ApiKey));
    assert_eq!(principal.merchant.unwrap().to_string(), merchant_id);

    // It reads its own merchant, named or not, and no other; what is the platform's is not for it.
    for named in [merchant_id.clone(), String::new()] {
        let request = under(&answer.token, GetMerchantRequest { merchant_id: named });
        let seen = service.client.get_merchant(request).await.unwrap().into_inner().merchant.unwrap();
        assert_eq!(seen.merchant_id, merchant_id);
    }
    let request = under(&answer.token, GetMerchantRequest { merchant_id: other });
    let error = service.client.get_merchant(request).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_deref()), (Code::NotFound, Some("MERCHANT_NOT_FOUND")));
    let list = under(&answer.token, ListMerchantsRequest::default());
    let error = service.client.list_merchants(list).await.unwrap_err();
    assert_eq!(
        (error.code(), reason(&error).as_deref()),
        (Code::PermissionDenied, Some("PRINCIPAL_NOT_ALLOWED"))
    );
    let forged = under("forged", GetMerchantRequest { merchant_id: merchant_id.clone() });
    let error = service.client.get_merchant(forged).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_deref()), (Code::Unauthenticated, Some("PRINCIPAL_INVALID")));

    service
        .keys
        .revoke_api_key(keyed(RevokeApiKeyRequest { merchant_id, api_key_id: key_id }))
        .await
        .unwrap();
    let error = service.keys.exchange_api_key(exchange).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_deref()), (Code::Unauthenticated, Some("API_KEY_INVALID")));
    let empty = service.keys.exchange_api_key(ExchangeApiKeyRequest::default()).await.unwrap_err();
    assert_eq!(bad_fields(&empty), ["secret"]);
}
