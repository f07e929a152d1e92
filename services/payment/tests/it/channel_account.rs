//! Channel accounts.

use futures::future::join_all;
use tael_grpc::status::{bad_fields, reason};
use tael_ids::{ChannelAccountId, MerchantId};
use tael_proto::payment::v1::add_channel_credential_request::Keys as AddedKeys;
use tael_proto::payment::v1::channel_account_service_client::ChannelAccountServiceClient;
use tael_proto::payment::v1::create_channel_account_request::Account;
use tael_proto::payment::v1::{
    ActivateChannelAccountRequest, AddChannelCredentialRequest, AlipayAccount, AlipayKeys, ChannelAccount,
    ChannelAccountState, CreateChannelAccountRequest, DisableChannelAccountRequest, GetChannelAccountRequest,
    ListChannelAccountsRequest, PaymentState, RetireChannelCredentialRequest, TestChannelAccountRequest,
    TestChannelAccountResponse,
};
use tael_proto::r#type::v1::Channel;
use tael_testkit::{keyed, new_key, no_redis_url, with_key};
use tonic::{Code, Status};

use crate::fixture::{
    ALIPAY_KEY, APP_KEY, Fixture, TestKey, account_request, configure_account, create_account, number,
};

#[tokio::test]
async fn an_account_is_returned_without_its_secrets() {
    let fixture = Fixture::start().await;
    let account = &fixture.account;
    assert_eq!((account.channel(), account.label.as_str()), (Channel::Alipay, "main"));
    let request = GetChannelAccountRequest {
        merchant_id: account.merchant_id.clone(),
        channel_account_id: account.channel_account_id.clone(),
    };
    let read = fixture.channel_accounts.clone().get_channel_account(request).await.unwrap().into_inner();
    assert_eq!(read.channel_account.as_ref(), Some(account));
    assert!(!format!("{read:?}").contains(&APP_KEY.private[..40]));
}

#[tokio::test]
async fn secrets_are_sealed_for_their_row() {
    let fixture = Fixture::start().await;
    let pool = fixture.database.pool();
    let sealed: Vec<u8> =
        sqlx::query_scalar("select sealed_keys from channel_credential").fetch_one(&pool).await.unwrap();
    let text = String::from_utf8_lossy(&sealed);
    assert!(!text.contains(&APP_KEY.private[..20]) && !text.contains(&ALIPAY_KEY.public[..20]));

    // In another account's row the same bytes do not open.
    let request = account_request(&fixture.merchant_id.to_string(), &fixture.app);
    create_account(&fixture.channel_accounts, request).await.unwrap();
    sqlx::query("update channel_credential set sealed_keys = $1").bind(&sealed).execute(&pool).await.unwrap();
    disable(&fixture, &fixture.account).await;
    let status = fixture.try_create(&fixture.order()).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_deref()), (Code::Internal, Some("BROKEN_INVARIANT")));
}

async fn disable(fixture: &Fixture, account: &ChannelAccount) -> ChannelAccount {
    let request = DisableChannelAccountRequest {
        merchant_id: account.merchant_id.clone(),
        channel_account_id: account.channel_account_id.clone(),
    };
    let disabled = fixture.channel_accounts.clone().disable_channel_account(request).await.unwrap();
    disabled.into_inner().channel_account.unwrap()
}

async fn activate(fixture: &Fixture, account: &ChannelAccount) -> Result<ChannelAccount, Status> {
    let request = ActivateChannelAccountRequest {
        merchant_id: account.merchant_id.clone(),
        channel_account_id: account.channel_account_id.clone(),
    };
    let active = fixture.channel_accounts.clone().activate_channel_account(request).await?;
    Ok(active.into_inner().channel_account.unwrap())
}

async fn test(
    fixture: &Fixture,
    account: &ChannelAccount,
    credential_id: &str,
) -> TestChannelAccountResponse {
    let request = TestChannelAccountRequest {
        merchant_id: account.merchant_id.clone(),
        channel_account_id: account.channel_account_id.clone(),
        channel_credential_id: credential_id.to_owned(),
    };
    fixture.channel_accounts.clone().test_channel_account(request).await.unwrap().into_inner()
}

async fn retire(fixture: &Fixture, account: &ChannelAccount, credential_id: &str) -> Result<(), Status> {
    let request = RetireChannelCredentialRequest {
        merchant_id: account.merchant_id.clone(),
        channel_account_id: account.channel_account_id.clone(),
        channel_credential_id: credential_id.to_owned(),
    };
    fixture.channel_accounts.clone().retire_channel_credential(request).await.map(|_| ())
}

/// A harmless call proves both keys before an account takes a payment; nothing is taken on trust.
#[tokio::test]
async fn an_account_takes_payments_only_after_its_keys_were_proved() {
    let fixture = Fixture::start().await;
    disable(&fixture, &fixture.account).await;
    let merchant_id = fixture.merchant_id.to_string();
    let good = account_request(&merchant_id, &fixture.app);
    let foreign = TestKey::generate();
    let with = |change: &dyn Fn(&mut CreateChannelAccountRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let wrong_id = with(&|request| {
        let Some(Account::Alipay(account)) = &mut request.account else { panic!("no account") };
        account.app_id = "2021000000000999".to_owned();
    });
    let wrong_private = with(&|request| {
        request.alipay_keys.as_mut().unwrap().app_private_key.clone_from(&foreign.private);
    });
    let wrong_public = with(&|request| {
        request.alipay_keys.as_mut().unwrap().alipay_public_key.clone_from(&foreign.public);
    });
    let unreachable = with(&|request| {
        let Some(Account::Alipay(account)) = &mut request.account else { panic!("no account") };
        account.gateway_url = "http://127.0.0.1:1/gateway.do".to_owned();
    });
    for (request, problem) in [
        (wrong_id, "isv.invalid-app-id"),
        (wrong_private, "isv.invalid-signature"),
        (wrong_public, "the answer's signature does not verify"),
        (unreachable, "the channel can't be reached"),
    ] {
        let draft = configure_account(&fixture.channel_accounts, request).await.unwrap();
        assert_eq!(draft.state(), ChannelAccountState::Draft);
        let failed = test(&fixture, &draft, "").await;
        assert!(!failed.passed && failed.problem.contains(problem), "{problem}: {failed:?}");
        let status = activate(&fixture, &draft).await.unwrap_err();
        assert_eq!(reason(&status).as_deref(), Some("CHANNEL_ACCOUNT_NOT_TESTED"));
        let status = fixture.try_create(&fixture.order()).await.unwrap_err();
        assert_eq!(reason(&status).as_deref(), Some("NO_CHANNEL_ACCOUNT"));
    }
    let draft = configure_account(&fixture.channel_accounts, good).await.unwrap();
    let passed = test(&fixture, &draft, "").await;
    assert!(passed.passed && passed.problem.is_empty(), "{passed:?}");
    assert!(passed.channel_account.unwrap().credentials[0].test_time.is_some());
    assert_eq!(activate(&fixture, &draft).await.unwrap().state(), ChannelAccountState::Active);
    let payment = fixture.create().await;
    assert_eq!(payment.attempts[0].channel_account_id, draft.channel_account_id);
    // What is disabled takes no new payment, and ends those that it has.
    assert_eq!(disable(&fixture, &draft).await.state(), ChannelAccountState::Disabled);
    let status = fixture.try_create(&fixture.order()).await.unwrap_err();
    assert_eq!(reason(&status).as_deref(), Some("NO_CHANNEL_ACCOUNT"));
    fixture.pay(&payment).await;
    fixture.eventually(&payment, PaymentState::Succeeded).await;
}

/// The keys of an account are replaced while it works: both verify at once, and the new ones sign as soon as they are proved.
#[tokio::test]
async fn keys_are_replaced_without_a_gap() {
    let fixture = Fixture::start().await;
    let account = &fixture.account;
    let first = account.credentials[0].channel_credential_id.clone();
    let status = retire(&fixture, account, &first).await.unwrap_err();
    assert_eq!(reason(&status).as_deref(), Some("LAST_CHANNEL_CREDENTIAL"));

    let foreign = TestKey::generate();
    let add = async |private: &str, public: &str| {
        let keys = AlipayKeys { app_private_key: private.to_owned(), alipay_public_key: public.to_owned() };
        let request = AddChannelCredentialRequest {
            merchant_id: account.merchant_id.clone(),
            channel_account_id: account.channel_account_id.clone(),
            keys: Some(AddedKeys::AlipayKeys(keys)),
            expire_time: None,
        };
        let added = fixture.channel_accounts.clone().add_channel_credential(keyed(request)).await.unwrap();
        added.into_inner().channel_credential_id
    };
    // Wrong ones stand in nobody's way: they were not proved, so nothing is signed with them.
    let wrong = add(&foreign.private, &ALIPAY_KEY.public).await;
    assert!(!test(&fixture, account, &wrong).await.passed);
    assert_eq!(fixture.create().await.state(), PaymentState::Pending);
    let status = retire(&fixture, account, &first).await.unwrap_err();
    assert_eq!(reason(&status).as_deref(), Some("LAST_CHANNEL_CREDENTIAL"));
    retire(&fixture, account, &wrong).await.unwrap();

    let second = add(&APP_KEY.private, &ALIPAY_KEY.public).await;
    assert!(test(&fixture, account, &second).await.passed);
    retire(&fixture, account, &first).await.unwrap();
    retire(&fixture, account, &first).await.unwrap();
    let payment = fixture.paid().await;
    assert_eq!(fixture.trade(&payment).await.out_trade_no, number(&payment));
    let known = test(&fixture, account, "").await.channel_account.unwrap();
    let retired: Vec<bool> = known.credentials.iter().map(|one| one.retire_time.is_some()).collect();
    assert_eq!(retired, [false, true, true], "newest first");
}

async fn refused(fixture: &Fixture, request: CreateChannelAccountRequest) -> Status {
    configure_account(&fixture.channel_accounts, request).await.unwrap_err()
}

#[tokio::test]
async fn bad_fields_are_named_and_secrets_never_echoed() {
    let fixture = Fixture::start().await;
    let good = account_request(&fixture.merchant_id.to_string(), &fixture.app);
    let with = |change: &dyn Fn(&mut CreateChannelAccountRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let with_account = |change: &dyn Fn(&mut AlipayAccount)| {
        with(&|request| {
            let Some(Account::Alipay(account)) = &mut request.account else { panic!("no account") };
            change(account);
        })
    };
    for (request, field) in [
        (with(&|r| r.merchant_id.clear()), "merchant_id"),
        (with(&|r| r.label = "x".repeat(65)), "label"),
        (with(&|r| r.account = None), "account"),
        (with(&|r| r.alipay_keys = None), "alipay_keys"),
        (with_account(&|a| a.app_id.clear()), "alipay.app_id"),
        (with_account(&|a| a.app_id = "a b".to_owned()), "alipay.app_id"),
        (with_account(&|a| a.app_id = "1".repeat(33)), "alipay.app_id"),
        (with_account(&|a| a.seller_id = "2088".to_owned()), "alipay.seller_id"),
        (with_account(&|a| a.seller_id = "1088000000000001".to_owned()), "alipay.seller_id"),
        (with_account(&|a| a.gateway_url = "ftp://x/gateway.do".to_owned()), "alipay.gateway_url"),
        (with_account(&|a| a.gateway_url = "http://x/?a=b".to_owned()), "alipay.gateway_url"),
        (with_account(&|a| a.gateway_url.clear()), "alipay.gateway_url"),
    ] {
        let status = refused(&fixture, request).await;
        assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, vec![field.to_owned()]));
    }

    let with_keys = |private: &str, public: &str| {
        with(&|request| {
            let keys = request.alipay_keys.as_mut().unwrap();
            private.clone_into(&mut keys.app_private_key);
            public.clone_into(&mut keys.alipay_public_key);
        })
    };
    let secret = "c2VjcmV0IHRoYXQgaXMgbm8ga2V5";
    for (request, fields) in [
        (with_keys(secret, &ALIPAY_KEY.public), vec!["alipay_keys.app_private_key"]),
        (with_keys("", &ALIPAY_KEY.public), vec!["alipay_keys.app_private_key"]),
        (with_keys(&ALIPAY_KEY.public, &ALIPAY_KEY.public), vec!["alipay_keys.app_private_key"]),
        (with_keys(&APP_KEY.private, secret), vec!["alipay_keys.alipay_public_key"]),
        (with_keys(&APP_KEY.private, &APP_KEY.public), vec!["alipay_keys.alipay_public_key"]),
        (with_keys(secret, secret), vec!["alipay_keys.app_private_key", "alipay_keys.alipay_public_key"]),
    ] {
        let status = refused(&fixture, request).await;
        assert_eq!(bad_fields(&status), fields);
        assert!(!format!("{status:?}").contains(secret));
    }
}

/// Whoever names a gateway names an address that we call.
#[tokio::test]
async fn a_gateway_is_a_host_of_the_channel_and_never_inside() {
    let fixture = Fixture::start().await;
    let strict = fixture.strict_replica().await;
    let accounts = ChannelAccountServiceClient::new(strict.channel());
    let with_gateway = |url: &str| {
        let mut request = account_request(&fixture.merchant_id.to_string(), &fixture.app);
        let Some(Account::Alipay(account)) = &mut request.account else { panic!("no account") };
        url.clone_into(&mut account.gateway_url);
        request
    };
    for url in [
        "https://127.0.0.1/gateway.do",
        "https://2130706433/gateway.do",
        "https://[::1]/gateway.do",
        "https://[::ffff:127.0.0.1]/gateway.do",
        "https://0.0.0.0/gateway.do",
        "https://169.254.169.254/latest/meta-data",
        "https://payment:50052/gateway.do",
        "https://localhost/gateway.do",
        "https://postgres.tael.svc.cluster.local/gateway.do",
        "http://openapi.alipay.com/gateway.do",
        "https://openapi.alipay.com:5432/gateway.do",
        "https://openapi.alipay.com.evil.example/gateway.do",
        "https://user@openapi.alipay.com/gateway.do",
    ] {
        let status = configure_account(&accounts, with_gateway(url)).await.unwrap_err();
        assert_eq!(bad_fields(&status), ["alipay.gateway_url"], "{url}");
    }
    configure_account(&accounts, with_gateway("https://openapi.alipay.com/gateway.do")).await.unwrap();
    strict.stop().await;
}

#[tokio::test]
async fn fifty_identical_calls_are_one_account() {
    for redis in [tael_testkit::redis_url(), no_redis_url()] {
        let fixture = Fixture::with_redis(redis).await;
        let merchant_id = MerchantId::new().to_string();
        let (key, request) = (new_key(), account_request(&merchant_id, &fixture.app));
        let answers = join_all((0..50).map(|_| {
            let (mut accounts, request) = (fixture.channel_accounts.clone(), with_key(&key, request.clone()));
            async move { accounts.create_channel_account(request).await.unwrap().into_inner() }
        }))
        .await;
        assert!(answers.iter().all(|answer| *answer == answers[0]));

        let other = CreateChannelAccountRequest { label: "other".to_owned(), ..request };
        let status =
            fixture.channel_accounts.clone().create_channel_account(with_key(&key, other)).await.unwrap_err();
        assert_eq!(reason(&status).as_deref(), Some("IDEMPOTENCY_KEY_REUSED"));
        let list = ListChannelAccountsRequest { merchant_id, page_size: 0, page_token: String::new() };
        let list = fixture.channel_accounts.clone().list_channel_accounts(list).await.unwrap().into_inner();
        assert_eq!(list.channel_accounts.len(), 1);
    }
}

#[tokio::test]
async fn another_merchants_account_is_unknown() {
    let fixture = Fixture::start().await;
    for (merchant_id, id) in [
        (MerchantId::new().to_string(), fixture.account.channel_account_id.clone()),
        (fixture.merchant_id.to_string(), ChannelAccountId::new().to_string()),
    ] {
        let request = GetChannelAccountRequest { merchant_id, channel_account_id: id };
        let status = fixture.channel_accounts.clone().get_channel_account(request).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_deref()),
            (Code::NotFound, Some("CHANNEL_ACCOUNT_NOT_FOUND"))
        );
    }
    let request = GetChannelAccountRequest {
        merchant_id: fixture.merchant_id.to_string(),
        channel_account_id: "cha_!".to_owned(),
    };
    let status = fixture.channel_accounts.clone().get_channel_account(request).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["channel_account_id"]);
}

#[tokio::test]
async fn accounts_are_listed_newest_first() {
    let fixture = Fixture::start().await;
    let request = account_request(&fixture.merchant_id.to_string(), &fixture.app);
    let second = create_account(&fixture.channel_accounts, request).await.unwrap();
    let list = |token: &str, merchant_id: MerchantId| {
        let request = ListChannelAccountsRequest {
            merchant_id: merchant_id.to_string(),
            page_size: 1,
            page_token: token.to_owned(),
        };
        let mut accounts = fixture.channel_accounts.clone();
        async move { accounts.list_channel_accounts(request).await.map(tonic::Response::into_inner) }
    };
    let first_page = list("", fixture.merchant_id).await.unwrap();
    assert_eq!(first_page.channel_accounts, [second]);
    let last_page = list(&first_page.next_page_token, fixture.merchant_id).await.unwrap();
    assert_eq!(
        (last_page.channel_accounts, last_page.next_page_token.as_str()),
        (vec![fixture.account.clone()], "")
    );
    let elsewhere = list(&first_page.next_page_token, MerchantId::new()).await.unwrap_err();
    assert_eq!(bad_fields(&elsewhere), ["page_token"]);
}
