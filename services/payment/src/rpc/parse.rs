//! Requests become domain values; every bad field is named.

use jiff::civil::Date;
use tael_egress::Policy;
use tael_grpc::fields::Fields;
use tael_grpc::page::Page;
use tael_ids::{
    AttemptDecisionId, ChannelAccountId, ChannelCredentialId, MerchantId, OrderId, PaymentId, RefundId,
};
use tael_proto::payment::v1::add_channel_credential_request::Keys as AddedKeys;
use tael_proto::payment::v1::create_channel_account_request::Account;
use tael_proto::payment::v1::{
    AddChannelCredentialRequest, AlipayAccount, AlipayKeys, CreateChannelAccountRequest,
    CreatePaymentRequest, GetCheckoutRequest, GetPaymentRefundRequest, HandleCallbackRequest,
    ListAttemptDecisionsRequest, ListChannelAccountsRequest, ListIntegrityAlertsRequest, ListPaymentsRequest,
    ReadStatementRequest, RefundPaymentRequest, RequestAttemptDecisionRequest,
    RetireChannelCredentialRequest, TestChannelAccountRequest,
};
use tael_proto::r#type::v1 as wire;
use tonic::Status;
use url::Url;

use crate::channel::Callback;
use crate::channel::alipay::{self, Keys, KeysError};
use crate::domain::channel_account::{ChannelName, Method};
use crate::domain::payment::MethodInput;
use crate::usecase::{NewAccount, NewCredential, NewDecision, NewPayment, NewRefund};

/// The largest callback body (HandleCallbackRequest).
const MAX_BODY_BYTES: usize = 64 << 10;

pub(super) fn new_account(
    request: &CreateChannelAccountRequest,
    egress: &Policy,
) -> Result<NewAccount, Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id::<MerchantId>("merchant_id", &request.merchant_id);
    let label = fields.text("label", &request.label, 0..=64);
    // One line for each channel.
    let account = match &request.account {
        None => fields.bad("account", "is missing"),
        Some(Account::Alipay(account)) => {
            alipay_identity(&mut fields, account, egress).map(|identity| (alipay::NAME, identity.to_stored()))
        }
    };
    let keys = match &request.alipay_keys {
        None => fields.bad("alipay_keys", "is missing"),
        Some(keys) => alipay_keys(&mut fields, keys),
    };
    fields.finish(|| {
        let (channel, identity) = account?;
        Some(NewAccount {
            merchant_id: merchant_id?,
            channel: ChannelName::new(channel),
            label: label?,
            identity,
            keys: keys?,
        })
    })
}

pub(super) fn new_credential(request: &AddChannelCredentialRequest) -> Result<NewCredential, Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let account_id = fields.id("channel_account_id", &request.channel_account_id);
    // One line for each channel.
    let keys = match &request.keys {
        None => fields.bad("keys", "is missing"),
        Some(AddedKeys::AlipayKeys(keys)) => alipay_keys(&mut fields, keys).map(|keys| (alipay::NAME, keys)),
    };
    let expire_time = match &request.expire_time {
        None => Some(None),
        Some(time) => fields.timestamp("expire_time", Some(time)).map(Some),
    };
    fields.finish(|| {
        let (channel, keys) = keys?;
        Some(NewCredential {
            merchant_id: merchant_id?,
            account_id: account_id?,
            channel: ChannelName::new(channel),
            keys,
            expire_time: expire_time?,
        })
    })
}

fn alipay_identity(
    fields: &mut Fields,
    account: &AlipayAccount,
    egress: &Policy,
) -> Option<alipay::Identity> {
    let is_app_id = |id: &str| (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    let app_id = if is_app_id(&account.app_id) {
        Some(account.app_id.clone())
    } else {
        fields.bad("alipay.app_id", "must be 1 to 32 letters and digits")
    };
    let is_seller =
        |id: &str| id.len() == 16 && id.starts_with("2088") && id.bytes().all(|b| b.is_ascii_digit());
    let seller_id = if is_seller(&account.seller_id) {
        Some(account.seller_id.clone())
    } else {
        fields.bad("alipay.seller_id", "must be 16 digits beginning with 2088")
    };
    let gateway_url = match egress.clone().only(alipay::HOSTS).parse(&account.gateway_url) {
        Ok(url) if url.query().is_none() && account.gateway_url.len() <= 256 => {
            Some(account.gateway_url.clone())
        }
        Ok(_) => fields.bad("alipay.gateway_url", "must be a URL without query, of at most 256 characters"),
        Err(refusal) => fields.bad("alipay.gateway_url", refusal.to_string()),
    };
    Some(alipay::Identity { app_id: app_id?, seller_id: seller_id?, gateway_url: gateway_url? })
}

/// Checks keys by making them. What is wrong with one is said without showing any of it.
fn alipay_keys(fields: &mut Fields, keys: &AlipayKeys) -> Option<secrecy::zeroize::Zeroizing<Vec<u8>>> {
    const PRIVATE: &str = "alipay_keys.app_private_key";
    const PUBLIC: &str = "alipay_keys.alipay_public_key";
    let bad_private =
        "must be an RSA private key of at least 2048 bits, PKCS#8 or PKCS#1, PEM or bare base64";
    let bad_public =
        "must be an RSA public key of at least 2048 bits, SubjectPublicKeyInfo, PEM or bare base64";
    match Keys::parse(&keys.app_private_key, &keys.alipay_public_key) {
        Ok(_) => return Some(Keys::to_stored(&keys.app_private_key, &keys.alipay_public_key)),
        Err(KeysError::AppPrivateKey | KeysError::Stored) => {
            fields.bad::<()>(PRIVATE, bad_private);
            if !Keys::is_public_key(&keys.alipay_public_key) {
                fields.bad::<()>(PUBLIC, bad_public);
            }
        }
        Err(KeysError::AlipayPublicKey) => {
            fields.bad::<()>(PUBLIC, bad_public);
        }
        Err(KeysError::SameKey) => {
            fields.bad::<()>(PUBLIC, "must be Alipay's key, not the application's own");
        }
    }
    None
}

pub(super) fn account(
    merchant_id: &str,
    channel_account_id: &str,
) -> Result<(MerchantId, ChannelAccountId), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", merchant_id);
    let id = fields.id("channel_account_id", channel_account_id);
    fields.finish(|| Some((merchant_id?, id?)))
}

pub(super) fn test_account(
    request: &TestChannelAccountRequest,
) -> Result<(MerchantId, ChannelAccountId, Option<ChannelCredentialId>), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let id = fields.id("channel_account_id", &request.channel_account_id);
    let credential_id = fields.optional_id("channel_credential_id", &request.channel_credential_id);
    fields.finish(|| Some((merchant_id?, id?, credential_id?)))
}

pub(super) fn retire_credential(
    request: &RetireChannelCredentialRequest,
) -> Result<(MerchantId, ChannelAccountId, ChannelCredentialId), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let id = fields.id("channel_account_id", &request.channel_account_id);
    let credential_id = fields.id("channel_credential_id", &request.channel_credential_id);
    fields.finish(|| Some((merchant_id?, id?, credential_id?)))
}

pub(super) fn new_decision(request: &RequestAttemptDecisionRequest) -> Result<NewDecision, Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let payment_id = fields.id("payment_id", &request.payment_id);
    let attempt_id = fields.id("attempt_id", &request.attempt_id);
    let reason = fields.text("reason", &request.reason, 1..=500);
    let operator = fields.text("operator", &request.operator, 1..=64);
    fields.finish(|| {
        Some(NewDecision {
            merchant_id: merchant_id?,
            payment_id: payment_id?,
            attempt_id: attempt_id?,
            reason: reason?,
            operator: operator?,
        })
    })
}

pub(super) fn decide(
    merchant_id: &str,
    attempt_decision_id: &str,
    operator: &str,
) -> Result<(MerchantId, AttemptDecisionId, String), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", merchant_id);
    let id = fields.id("attempt_decision_id", attempt_decision_id);
    let operator = fields.text("operator", operator, 1..=64);
    fields.finish(|| Some((merchant_id?, id?, operator?)))
}

pub(super) fn list_decisions(request: &ListAttemptDecisionsRequest) -> Result<(MerchantId, Page), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let scope = ["ListAttemptDecisions", &request.merchant_id];
    let page = Page::parse(&mut fields, request.page_size, &request.page_token, &scope);
    fields.finish(|| Some((merchant_id?, page?)))
}

pub(super) fn list_accounts(request: &ListChannelAccountsRequest) -> Result<(MerchantId, Page), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let scope = ["ListChannelAccounts", &request.merchant_id];
    let page = Page::parse(&mut fields, request.page_size, &request.page_token, &scope);
    fields.finish(|| Some((merchant_id?, page?)))
}

pub(super) fn new_payment(request: &CreatePaymentRequest) -> Result<NewPayment, Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let order_id = fields.id("order_id", &request.order_id);
    let method = fields.choice::<wire::Method>("method", request.method).and_then(method);
    let channel =
        if request.channel == 0 { Some(None) } else { channel(&mut fields, request.channel).map(Some) };
    let input = method.and_then(|method| method_input(&mut fields, method, request));
    fields.finish(|| {
        Some(NewPayment {
            merchant_id: merchant_id?,
            order_id: order_id?,
            method: method?,
            channel: channel?,
            input: input?,
        })
    })
}

fn method(method: wire::Method) -> Option<Method> {
    match method {
        wire::Method::QrCode => Some(Method::QrCode),
        wire::Method::Web => Some(Method::Web),
        wire::Method::InApp => Some(Method::InApp),
        wire::Method::Unspecified => None,
    }
}

/// Reads what a method needs. What it has no use for must not be given.
fn method_input(fields: &mut Fields, method: Method, request: &CreatePaymentRequest) -> Option<MethodInput> {
    let CreatePaymentRequest { return_url, payer, .. } = request;
    let return_url = match method {
        Method::Web => web_url(fields, "return_url", return_url).map(Some),
        Method::QrCode | Method::InApp if return_url.is_empty() => Some(None),
        Method::QrCode | Method::InApp => fields.bad("return_url", "has no meaning for this method"),
    };
    let payer = match method {
        Method::InApp => fields.text("payer", payer, 1..=128).map(Some),
        Method::QrCode | Method::Web if payer.is_empty() => Some(None),
        Method::QrCode | Method::Web => fields.bad("payer", "has no meaning for this method"),
    };
    Some(MethodInput { return_url: return_url?, payer: payer? })
}

fn web_url(fields: &mut Fields, field: &str, text: &str) -> Option<String> {
    let is_web = |url: &Url| url.scheme() == "https" && url.has_host() && url.username().is_empty();
    match Url::parse(text) {
        Ok(url) if is_web(&url) && text.len() <= 256 => Some(text.to_owned()),
        Ok(_) | Err(_) => fields.bad(field, "must be an https URL of at most 256 characters"),
    }
}

/// A channel's name is that of its enum value.
fn channel(fields: &mut Fields, value: i32) -> Option<ChannelName> {
    let channel = fields.choice::<wire::Channel>("channel", value)?;
    let name = channel.as_str_name();
    let name = name.strip_prefix("CHANNEL_").unwrap_or(name).to_ascii_lowercase();
    Some(ChannelName::new(&name))
}

pub(super) fn payment(merchant_id: &str, payment_id: &str) -> Result<(MerchantId, PaymentId), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", merchant_id);
    let id = fields.id("payment_id", payment_id);
    fields.finish(|| Some((merchant_id?, id?)))
}

pub(super) fn list_payments(
    request: &ListPaymentsRequest,
) -> Result<(MerchantId, Option<OrderId>, Page), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let order_id = fields.optional_id("order_id", &request.order_id);
    let scope = ["ListPayments", &request.merchant_id, &request.order_id];
    let page = Page::parse(&mut fields, request.page_size, &request.page_token, &scope);
    fields.finish(|| Some((merchant_id?, order_id?, page?)))
}

pub(super) fn new_refund(request: &RefundPaymentRequest) -> Result<NewRefund, Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let payment_id = fields.id("payment_id", &request.payment_id);
    let refund_id = fields.id::<RefundId>("refund_id", &request.refund_id);
    let amount = fields.positive_money("amount", request.amount.as_ref());
    let reason = fields.text("reason", &request.reason, 0..=128);
    fields.finish(|| {
        Some(NewRefund {
            merchant_id: merchant_id?,
            payment_id: payment_id?,
            refund_id: refund_id?,
            amount: amount?,
            reason: reason?,
        })
    })
}

pub(super) fn get_refund(request: &GetPaymentRefundRequest) -> Result<(MerchantId, RefundId), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let id = fields.id("refund_id", &request.refund_id);
    fields.finish(|| Some((merchant_id?, id?)))
}

pub(super) fn callback(
    request: HandleCallbackRequest,
) -> Result<(String, ChannelAccountId, Callback), Status> {
    let mut fields = Fields::default();
    if request.channel.is_empty() {
        fields.bad::<()>("channel", "is missing");
    }
    let id = fields.id("channel_account_id", &request.channel_account_id);
    if request.body.len() > MAX_BODY_BYTES {
        fields.bad::<()>("body", "must be at most 65536 bytes");
    }
    let HandleCallbackRequest { channel, method, path, query, headers, body, .. } = request;
    fields.finish(|| Some((channel, id?, Callback { method, path, query, headers, body })))
}

pub(super) fn checkout(request: &GetCheckoutRequest) -> Result<PaymentId, Status> {
    let mut fields = Fields::default();
    let id = fields.id("payment_id", &request.payment_id);
    fields.finish(|| id)
}

pub(super) fn list_integrity_alerts(
    request: &ListIntegrityAlertsRequest,
) -> Result<(MerchantId, Page), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let scope = ["ListIntegrityAlerts", &request.merchant_id];
    let page = Page::parse(&mut fields, request.page_size, &request.page_token, &scope);
    fields.finish(|| Some((merchant_id?, page?)))
}

pub(super) fn read_statement(
    request: &ReadStatementRequest,
) -> Result<(MerchantId, ChannelAccountId, Date), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let id = fields.id("channel_account_id", &request.channel_account_id);
    // The one way of writing a day, and no other that the parser would also take.
    let day = Date::strptime("%Y-%m-%d", &request.statement_date)
        .ok()
        .filter(|day| day.to_string() == request.statement_date);
    let day = match day {
        Some(day) => Some(day),
        None if request.statement_date.is_empty() => fields.bad("statement_date", "is missing"),
        None => fields.bad("statement_date", "must be a day such as 2026-11-21"),
    };
    fields.finish(|| Some((merchant_id?, id?, day?)))
}
