//! A merchant that can sell: registered, approved, with an Alipay account, fees and a place to be told.

mod receiver;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
pub use receiver::{Received, WebhookReceiver};
use tael_proto::merchant::v1::{ApproveMerchantRequest, Merchant, RegisterMerchantRequest};
use tael_proto::payment::v1::{
    ActivateChannelAccountRequest, AlipayAccount, AlipayKeys, ChannelAccount, CreateChannelAccountRequest,
    TestChannelAccountRequest, create_channel_account_request,
};
use tael_proto::settlement::v1::{FeeSchedule, FeeTerms, SetFeeScheduleRequest};
use tael_proto::r#type::v1::Channel;
use tael_sandbox::alipay::{AppView, RegisterApp};

use crate::Error;
use crate::clients::{Clients, keyed};

/// What the merchant pays per payment.
pub const MERCHANT_RATE: &str = "0.006";
/// What the channel keeps per payment.
pub const CHANNEL_RATE: &str = "0.0038";

/// A merchant that can sell.
#[derive(Clone, Debug)]
pub struct Shop {
    /// The merchant, approved.
    pub merchant: Merchant,
    /// The merchant's account at the channel.
    pub channel_account: ChannelAccount,
    /// How the sandbox knows the merchant.
    pub app: AppView,
}

impl Shop {
    /// Opens a shop: everything a merchant does before the first sale.
    pub async fn open(clients: &mut Clients, name: &str) -> Result<Self, Error> {
        let register =
            RegisterMerchantRequest { name: name.to_owned(), time_zone: "Asia/Shanghai".to_owned() };
        let merchant =
            answer(clients.merchant.register_merchant(keyed(register)).await?.into_inner().merchant)?;
        let approve = ApproveMerchantRequest { merchant_id: merchant.merchant_id.clone() };
        let merchant =
            answer(clients.merchant.approve_merchant(keyed(approve)).await?.into_inner().merchant)?;

        let keys = AppKeys::generate()?;
        let app: AppView = clients
            .payer
            .register(&RegisterApp {
                fee_rate: Some(CHANNEL_RATE.to_owned()),
                ..RegisterApp::new(keys.public)
            })
            .await?;
        let account = CreateChannelAccountRequest {
            merchant_id: merchant.merchant_id.clone(),
            label: "sandbox".to_owned(),
            account: Some(create_channel_account_request::Account::Alipay(AlipayAccount {
                app_id: app.app_id.clone(),
                seller_id: app.seller_id.clone(),
                gateway_url: app.gateway_url.clone(),
            })),
            alipay_keys: Some(AlipayKeys {
                app_private_key: keys.private,
                alipay_public_key: app.alipay_public_key.clone(),
            }),
        };
        let created = clients.channel_account.create_channel_account(keyed(account)).await?.into_inner();
        let draft = answer(created.channel_account)?;
        let test = TestChannelAccountRequest {
            merchant_id: merchant.merchant_id.clone(),
            channel_account_id: draft.channel_account_id.clone(),
            channel_credential_id: String::new(),
        };
        let test = clients.channel_account.test_channel_account(test).await?.into_inner();
        if !test.passed {
            return Err(format!("the channel account does not work: {}", test.problem).into());
        }
        let activate = ActivateChannelAccountRequest {
            merchant_id: draft.merchant_id,
            channel_account_id: draft.channel_account_id,
        };
        let active = clients.channel_account.activate_channel_account(activate).await?.into_inner();
        let channel_account = answer(active.channel_account)?;

        let fees = SetFeeScheduleRequest {
            merchant_id: merchant.merchant_id.clone(),
            fee_schedule: Some(FeeSchedule {
                channel: Channel::Alipay.into(),
                fee: Some(FeeTerms { rate: MERCHANT_RATE.to_owned(), ..FeeTerms::default() }),
                channel_fee: Some(FeeTerms { rate: CHANNEL_RATE.to_owned(), ..FeeTerms::default() }),
            }),
        };
        clients.fee_schedules.set_fee_schedule(keyed(fees)).await?;
        Ok(Self { merchant, channel_account, app })
    }

    /// The merchant's id, to be put into requests.
    pub fn id(&self) -> String {
        self.merchant.merchant_id.clone()
    }
}

/// Takes what an answer must hold.
pub fn answer<T>(part: Option<T>) -> Result<T, Error> {
    part.ok_or_else(|| "an answer came without its content".into())
}

/// The key pair of a merchant's app at Alipay.
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
