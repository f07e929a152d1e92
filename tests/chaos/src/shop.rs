//! Merchants that sell during the run.

use std::net::SocketAddr;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tael_proto::merchant::v1::{ApproveMerchantRequest, RegisterMerchantRequest};
use tael_proto::notification::v1::CreateWebhookEndpointRequest;
use tael_proto::order::v1::{LatePaymentAction, LatePaymentPolicy, SetLatePaymentPolicyRequest};
use tael_proto::payment::v1::{
    ActivateChannelAccountRequest, AlipayAccount, AlipayKeys, CreateChannelAccountRequest,
    TestChannelAccountRequest, create_channel_account_request,
};
use tael_proto::settlement::v1::{FeeSchedule, FeeTerms, SetFeeScheduleRequest};
use tael_proto::r#type::v1::Channel;
use tael_sandbox::alipay::{AppView, RegisterApp};

use crate::Error;
use crate::caller::Caller;
use crate::receiver::Receiver;

/// What the shops, one after the other, want done with money that comes too late: for a closed order, and beyond the
/// order's total.
const LATE_PAYMENTS: [(LatePaymentAction, LatePaymentAction); 4] = [
    (LatePaymentAction::Hold, LatePaymentAction::Hold),
    (LatePaymentAction::Accept, LatePaymentAction::Refund),
    (LatePaymentAction::Refund, LatePaymentAction::Refund),
    (LatePaymentAction::Accept, LatePaymentAction::Hold),
];

/// A merchant that can sell.
#[derive(Clone, Debug)]
pub struct Shop {
    /// The merchant's id.
    pub merchant_id: String,
    /// The merchant's application at the channel.
    pub app_id: String,
    /// The merchant's account at the channel.
    pub seller_id: String,
    /// The platform's id of that account.
    pub channel_account_id: String,
    /// Where the merchant is told.
    pub webhook_endpoint_id: String,
}

impl Shop {
    /// Everything that a merchant does before the first sale.
    pub async fn open(
        caller: &Caller,
        receiver: &Receiver,
        run: &str,
        gateway_of_channel: SocketAddr,
        number: usize,
    ) -> Result<Self, Error> {
        let key = |step: &str| format!("{run}-shop-{number}-{step}");
        let register = RegisterMerchantRequest {
            name: format!("chaos {number}"),
            time_zone: "Asia/Shanghai".to_owned(),
        };
        let merchant_id = caller
            .ask("RegisterMerchant", Some(&key("register")), register, |mut c, r| async move {
                c.merchant.register_merchant(r).await
            })
            .await?
            .merchant
            .ok_or("no merchant")?
            .merchant_id;
        let approve = ApproveMerchantRequest { merchant_id: merchant_id.clone() };
        caller
            .ask("ApproveMerchant", Some(&key("approve")), approve, |mut c, r| async move {
                c.merchant.approve_merchant(r).await
            })
            .await?;

        let keys = AppKeys::generate()?;
        let app: AppView = caller.payer.register(&RegisterApp::new(keys.public)).await?;
        let account = CreateChannelAccountRequest {
            merchant_id: merchant_id.clone(),
            label: "sandbox".to_owned(),
            account: Some(create_channel_account_request::Account::Alipay(AlipayAccount {
                app_id: app.app_id.clone(),
                seller_id: app.seller_id.clone(),
                gateway_url: format!("http://{gateway_of_channel}/gateway.do"),
            })),
            alipay_keys: Some(AlipayKeys {
                app_private_key: keys.private,
                alipay_public_key: app.alipay_public_key,
            }),
        };
        let channel_account_id = caller
            .ask("CreateChannelAccount", Some(&key("account")), account, |mut c, r| async move {
                c.channel_account.create_channel_account(r).await
            })
            .await?
            .channel_account
            .ok_or("no channel account")?
            .channel_account_id;
        let test = TestChannelAccountRequest {
            merchant_id: merchant_id.clone(),
            channel_account_id: channel_account_id.clone(),
            channel_credential_id: String::new(),
        };
        let test = caller.ask("TestChannelAccount", None, test, |mut c, r| async move {
            c.channel_account.test_channel_account(r).await
        });
        let test = test.await?;
        if !test.passed {
            return Err(format!("the channel account does not work: {}", test.problem).into());
        }
        let activate = ActivateChannelAccountRequest {
            merchant_id: merchant_id.clone(),
            channel_account_id: channel_account_id.clone(),
        };
        let activate = caller.ask("ActivateChannelAccount", None, activate, |mut c, r| async move {
            c.channel_account.activate_channel_account(r).await
        });
        activate.await?;

        let fees = SetFeeScheduleRequest {
            merchant_id: merchant_id.clone(),
            fee_schedule: Some(FeeSchedule {
                channel: Channel::Alipay.into(),
                fee: Some(FeeTerms { rate: "0.006".to_owned(), ..FeeTerms::default() }),
                channel_fee: Some(FeeTerms { rate: app.fee_rate, ..FeeTerms::default() }),
            }),
        };
        caller
            .ask("SetFeeSchedule", Some(&key("fees")), fees, |mut c, r| async move {
                c.fee_schedules.set_fee_schedule(r).await
            })
            .await?;

        let (closed_order, overpayment) = LATE_PAYMENTS[number % LATE_PAYMENTS.len()];
        let policy = SetLatePaymentPolicyRequest {
            merchant_id: merchant_id.clone(),
            policy: Some(LatePaymentPolicy {
                closed_order: closed_order.into(),
                overpayment: overpayment.into(),
            }),
        };
        caller
            .ask("SetLatePaymentPolicy", Some(&key("late")), policy, |mut c, r| async move {
                c.unapplied_payment.set_late_payment_policy(r).await
            })
            .await?;

        let endpoint = CreateWebhookEndpointRequest {
            merchant_id: merchant_id.clone(),
            url: receiver.url(&merchant_id),
            event_types: Vec::new(),
        };
        let created = caller
            .ask("CreateWebhookEndpoint", Some(&key("endpoint")), endpoint, |mut c, r| async move {
                c.webhook_endpoints.create_webhook_endpoint(r).await
            })
            .await?;
        receiver.trust(&merchant_id, &created.secret)?;
        let webhook_endpoint_id = created.webhook_endpoint.ok_or("no endpoint")?.webhook_endpoint_id;
        Ok(Self {
            merchant_id,
            app_id: app.app_id,
            seller_id: app.seller_id,
            channel_account_id,
            webhook_endpoint_id,
        })
    }
}

/// The key pair of a merchant's application at the channel.
struct AppKeys {
    private: String,
    public: String,
}

impl AppKeys {
    fn generate() -> Result<Self, Error> {
        let failed = |_| Error::from("no RSA key could be made");
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
        let private: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(failed)?;
        Ok(Self { private: STANDARD.encode(private.as_ref()), public: STANDARD.encode(public.as_ref()) })
    }
}
