//! A running payment service and what stands around it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::tz::{TimeZone, offset};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use tael_clock::Clock;
use tael_egress::Policy;
use tael_grpc::client::Channel;
use tael_ids::{AttemptId, MerchantId, OrderId, RefundId};
use tael_payment::{App, Config};
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{Event, ReadEventsRequest};
use tael_proto::order::v1::{OrderLine, OrderState, PayableOrder, PriceBreakdown};
use tael_proto::payment::v1::callback_service_client::CallbackServiceClient;
use tael_proto::payment::v1::channel_account_service_client::ChannelAccountServiceClient;
use tael_proto::payment::v1::create_channel_account_request::Account;
use tael_proto::payment::v1::integrity_alert_service_client::IntegrityAlertServiceClient;
use tael_proto::payment::v1::next_action::Action;
use tael_proto::payment::v1::payment_service_client::PaymentServiceClient;
use tael_proto::payment::v1::refund_execution_service_client::RefundExecutionServiceClient;
use tael_proto::payment::v1::statement_service_client::StatementServiceClient;
use tael_proto::payment::v1::{
    ActivateChannelAccountRequest, AlipayAccount, AlipayKeys, ChannelAccount, ClosePaymentRequest,
    CreateChannelAccountRequest, CreatePaymentRequest, GetPaymentRequest, HandleCallbackRequest, Payment,
    PaymentRefund, PaymentState, RefundPaymentRequest, SyncPaymentRequest, TestChannelAccountRequest,
};
use tael_proto::r#type::v1::{Channel as WireChannel, Method, Money};
use tael_runtime::ServiceConfig;
use tael_sandbox::ControlClient;
use tael_sandbox::alipay::{AppView, RegisterApp};
use tael_sandbox::control::{AddFault, Fault, TradeRef, TradeView};
use tael_sealed::Keyring;
use tael_testkit::{Running, TestDatabase, eventually, keyed, redis_url};
use tonic::{Response, Status};
use url::form_urlencoded::Serializer;

/// A key pair, made once for all tests.
pub(crate) struct TestKey {
    pair: RsaKeyPair,
    /// PKCS#8, bare base64.
    pub(crate) private: String,
    /// SubjectPublicKeyInfo, bare base64.
    pub(crate) public: String,
}

impl TestKey {
    pub(crate) fn generate() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let (private, public) = (STANDARD.encode(private.as_ref()), STANDARD.encode(public.as_ref()));
        Self { pair, private, public }
    }

    fn pem(&self) -> String {
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", self.private)
    }

    pub(crate) fn sign(&self, text: &str) -> String {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
        STANDARD.encode(signature)
    }
}

/// The merchant's application.
pub(crate) static APP_KEY: LazyLock<TestKey> = LazyLock::new(TestKey::generate);
/// The sandbox's Alipay. The tests hold it, to sign messages that the sandbox would never send.
pub(crate) static ALIPAY_KEY: LazyLock<TestKey> = LazyLock::new(TestKey::generate);

pub(crate) struct Fixture {
    pub(crate) payments: PaymentServiceClient<Channel>,
    pub(crate) refund_executions: RefundExecutionServiceClient<Channel>,
    pub(crate) channel_accounts: ChannelAccountServiceClient<Channel>,
    pub(crate) statements: StatementServiceClient<Channel>,
    pub(crate) callbacks: CallbackServiceClient<Channel>,
    pub(crate) integrity_alerts: IntegrityAlertServiceClient<Channel>,
    pub(crate) orders: crate::peers::FakeOrders,
    pub(crate) merchants: crate::peers::FakeMerchants,
    pub(crate) sandbox: ControlClient,
    pub(crate) app: AppView,
    /// Stands still unless a test moves it, and with it the poller. The sandbox's clock goes on.
    pub(crate) clock: Clock,
    pub(crate) merchant_id: MerchantId,
    pub(crate) account: ChannelAccount,
    pub(crate) running: Running,
    pub(crate) config: Config,
    pub(crate) database: TestDatabase,
}

impl Fixture {
    /// An approved merchant with one Alipay account.
    pub(crate) async fn start() -> Self {
        Self::with_redis(redis_url()).await
    }

    pub(crate) async fn with_redis(redis_url: SecretString) -> Self {
        let sandbox = tael_sandbox::App::build(tael_sandbox::Config {
            alipay: tael_sandbox::alipay::Config {
                private_key_pem: Some(ALIPAY_KEY.pem()),
                ..tael_sandbox::alipay::Config::default()
            },
            // The first repetition of a notification comes after a quarter of a second.
            time_scale: 1000,
            ..tael_sandbox::Config::default()
        })
        .await
        .unwrap();
        let control = ControlClient::new(sandbox.url()).unwrap();
        tokio::spawn(sandbox.run(std::future::pending()));
        let register = RegisterApp::new(&APP_KEY.public);
        let app: AppView = control.register(&register).await.unwrap();

        let database = TestDatabase::of::<App>().await;
        let (orders, merchants) =
            (crate::peers::FakeOrders::default(), crate::peers::FakeMerchants::default());
        let relay = crate::peers::Relay::default();
        let clock = Clock::manual(Clock::system().now());
        let config = Config {
            base: ServiceConfig {
                listen: ([127, 0, 0, 1], 0).into(),
                database_url: database.url(),
                database_connections: 16,
                migrate_at_start: true,
                redis_url,
                event_retention_days: None,
                principal_keys: None,
                health_listen: None,
                tls: None,
                max_in_flight: tael_runtime::ServiceConfig::MAX_IN_FLIGHT,
            },
            order_url: orders.start().await,
            merchant_url: merchants.start().await,
            public_url: relay.start().await.parse().unwrap(),
            keyring: Arc::new(Keyring::generate()),
            egress: Policy::development(),
            channel_timeout: Duration::from_secs(10),
            poll_first: Duration::from_millis(100),
            poll_last: Duration::from_secs(1),
        };
        let running = tael_testkit::run::<App>(config.clone(), clock.clone()).await;
        let channel = running.channel();
        let callbacks = CallbackServiceClient::new(channel.clone());
        relay.open(callbacks.clone());
        let channel_accounts = ChannelAccountServiceClient::new(channel.clone());
        let merchant_id = MerchantId::new();
        merchants.approve(&merchant_id.to_string());
        let account =
            create_account(&channel_accounts, account_request(&merchant_id.to_string(), &app)).await.unwrap();
        Self {
            payments: PaymentServiceClient::new(channel.clone()),
            refund_executions: RefundExecutionServiceClient::new(channel.clone()),
            channel_accounts,
            statements: StatementServiceClient::new(channel.clone()),
            callbacks,
            integrity_alerts: IntegrityAlertServiceClient::new(channel),
            orders,
            merchants,
            sandbox: control,
            app,
            clock,
            merchant_id,
            account,
            running,
            config,
            database,
        }
    }

    /// The same, but asked through another replica.
    pub(crate) fn at(mut self, running: Running) -> Self {
        let channel = running.channel();
        self.payments = PaymentServiceClient::new(channel.clone());
        self.channel_accounts = ChannelAccountServiceClient::new(channel);
        self.running = running;
        self
    }

    /// Starts one more replica on the same database.
    pub(crate) async fn replica(&self) -> Running {
        tael_testkit::run::<App>(self.config.clone(), self.clock.clone()).await
    }

    /// Starts one more replica that calls only what may be called in production.
    pub(crate) async fn strict_replica(&self) -> Running {
        let config = Config { egress: Policy::strict(), ..self.config.clone() };
        tael_testkit::run::<App>(config, self.clock.clone()).await
    }

    /// An order of 68.00 yuan that waits for its payment for half an hour.
    pub(crate) fn order(&self) -> PayableOrder {
        self.order_of("CNY", 6_800)
    }

    pub(crate) fn order_of(&self, currency: &str, minor: i64) -> PayableOrder {
        let expire_time = self.clock.now() + SignedDuration::from_mins(30);
        let line = |name: &str| OrderLine { name: name.to_owned(), ..OrderLine::default() };
        let total = Some(Money { currency: currency.to_owned(), minor });
        let order = PayableOrder {
            order_id: OrderId::new().to_string(),
            merchant_id: self.merchant_id.to_string(),
            state: OrderState::PendingPayment.into(),
            lines: vec![line("龙井茶 100g"), line("Cup")],
            price: Some(PriceBreakdown { total, ..PriceBreakdown::default() }),
            expire_time: Some(tael_grpc::convert::timestamp(expire_time)),
            ..PayableOrder::default()
        };
        self.orders.put(order.clone());
        order
    }

    pub(crate) fn request(&self, order: &PayableOrder) -> CreatePaymentRequest {
        CreatePaymentRequest {
            merchant_id: self.merchant_id.to_string(),
            order_id: order.order_id.clone(),
            method: Method::QrCode.into(),
            channel: WireChannel::Unspecified.into(),
            ..CreatePaymentRequest::default()
        }
    }

    pub(crate) async fn try_create(&self, order: &PayableOrder) -> Result<Payment, Status> {
        let request = keyed(self.request(order));
        self.payments.clone().create_payment(request).await.map(|r| r.into_inner().payment.unwrap())
    }

    /// A payment for a new order.
    pub(crate) async fn create(&self) -> Payment {
        self.try_create(&self.order()).await.unwrap()
    }

    /// A payment that the payer has paid, and that we have heard of.
    pub(crate) async fn paid(&self) -> Payment {
        let payment = self.create().await;
        self.pay(&payment).await;
        self.eventually(&payment, PaymentState::Succeeded).await
    }

    pub(crate) fn reference(&self, payment: &Payment) -> TradeRef {
        TradeRef::number(&self.app.app_id, number(payment))
    }

    pub(crate) async fn pay(&self, payment: &Payment) -> TradeView {
        self.sandbox.pay(self.reference(payment)).await.unwrap()
    }

    pub(crate) async fn trade(&self, payment: &Payment) -> TradeView {
        self.sandbox.trade(&self.app.app_id, &number(payment)).await.unwrap()
    }

    /// Lets something go wrong with the next `times` calls of a method.
    pub(crate) async fn fault(&self, method: &str, times: u32, fault: Fault) {
        let fault = AddFault::new(fault).operation(method).times(times);
        self.sandbox.add_fault(&fault).await.unwrap();
    }

    /// No notification arrives from now on.
    pub(crate) async fn lose_notifications(&self) {
        let fault = Fault::LoseNotification { attempts: None };
        let fault = AddFault::new(fault);
        self.sandbox.add_fault(&fault).await.unwrap();
    }

    pub(crate) async fn get(&self, payment: &Payment) -> Payment {
        let request = GetPaymentRequest {
            merchant_id: payment.merchant_id.clone(),
            payment_id: payment.payment_id.clone(),
        };
        self.payments.clone().get_payment(request).await.unwrap().into_inner().payment.unwrap()
    }

    /// Waits until the payment is in the state.
    pub(crate) async fn eventually(&self, payment: &Payment, state: PaymentState) -> Payment {
        eventually(&format!("the payment to be {state:?}"), || async {
            let payment = self.get(payment).await;
            (payment.state() == state).then_some(payment)
        })
        .await
    }

    pub(crate) async fn close(&self, payment: &Payment) -> Payment {
        let request = ClosePaymentRequest {
            merchant_id: payment.merchant_id.clone(),
            payment_id: payment.payment_id.clone(),
        };
        self.payments.clone().close_payment(keyed(request)).await.unwrap().into_inner().payment.unwrap()
    }

    pub(crate) async fn sync(&self, payment: &Payment) -> Payment {
        let request = SyncPaymentRequest {
            merchant_id: payment.merchant_id.clone(),
            payment_id: payment.payment_id.clone(),
        };
        self.payments.clone().sync_payment(request).await.unwrap().into_inner().payment.unwrap()
    }

    pub(crate) async fn refund(&self, request: &RefundPaymentRequest) -> Result<PaymentRefund, Status> {
        self.refund_executions
            .clone()
            .refund_payment(request.clone())
            .await
            .map(|r| r.into_inner().refund.unwrap())
    }

    /// Hands in a callback; returns what the channel is told.
    pub(crate) async fn notify(&self, account_id: &str, body: impl Into<axum::body::Bytes>) -> String {
        let request = HandleCallbackRequest {
            channel: "alipay".to_owned(),
            channel_account_id: account_id.to_owned(),
            body: body.into(),
            ..HandleCallbackRequest::default()
        };
        let told = self.callbacks.clone().handle_callback(request).await.map(Response::into_inner).unwrap();
        assert!(told.status == 200 || told.body != "success");
        String::from_utf8(told.body.to_vec()).unwrap()
    }

    /// The fields of a notification that a payment was paid, as Alipay would send them.
    pub(crate) fn paid_fields(&self, payment: &Payment) -> BTreeMap<&'static str, String> {
        let minor = payment.amount.as_ref().unwrap().minor;
        BTreeMap::from([
            ("app_id", self.app.app_id.clone()),
            ("charset", "utf-8".to_owned()),
            (
                "gmt_payment",
                PAID_AT.to_zoned(TimeZone::fixed(offset(8))).strftime("%Y-%m-%d %H:%M:%S").to_string(),
            ),
            ("notify_id", "2026030100222155624068450559358070".to_owned()),
            ("notify_type", "trade_status_sync".to_owned()),
            ("out_trade_no", number(payment)),
            ("seller_id", self.app.seller_id.clone()),
            ("subject", "茶 & cup".to_owned()),
            ("total_amount", format!("{}.{:02}", minor / 100, minor % 100)),
            ("trade_no", "2026030122001468450512505578".to_owned()),
            ("trade_status", "TRADE_SUCCESS".to_owned()),
            ("version", "1.0".to_owned()),
        ])
    }

    /// Waits until the service's log has so many events, and returns the names of their kinds.
    pub(crate) async fn said(&self, count: usize) -> Vec<&'static str> {
        self.events(count).await.iter().map(|event| tael_eventlog::kind_name(&kind(event))).collect()
    }

    pub(crate) async fn events(&self, count: usize) -> Vec<Event> {
        let log = EventLogServiceClient::new(self.running.channel());
        eventually("the events to be served", || async {
            let request =
                ReadEventsRequest { after: None, limit: 1000, wait_ms: 0, ..ReadEventsRequest::default() };
            let events = log.clone().read_events(request).await.unwrap().into_inner().events;
            (events.len() >= count).then_some(events)
        })
        .await
    }

    /// Moves the service's clock, which makes the poller look at what is due by then.
    pub(crate) fn advance(&self, by: SignedDuration) {
        self.clock.advance(by);
    }
}

/// When the payer paid, in all forms that this makes: a time that can be.
pub(crate) static PAID_AT: LazyLock<Timestamp> =
    LazyLock::new(|| Timestamp::from_second(Clock::system().now().as_second()).unwrap());

pub(crate) fn kind(event: &Event) -> Kind {
    event.payload.clone().unwrap().kind.unwrap()
}

pub(crate) fn refund_request(payment: &Payment, minor: i64) -> RefundPaymentRequest {
    RefundPaymentRequest {
        merchant_id: payment.merchant_id.clone(),
        payment_id: payment.payment_id.clone(),
        refund_id: RefundId::new().to_string(),
        amount: cny(minor),
        reason: "wrong size".to_owned(),
    }
}

/// The number under which the channel knows a payment's attempt.
pub(crate) fn number(payment: &Payment) -> String {
    payment.attempts[0].attempt_id.parse::<AttemptId>().unwrap().channel_number()
}

pub(crate) fn qr_code(payment: &Payment) -> Option<String> {
    match payment.next_action.clone()?.action? {
        Action::QrCode(code) => Some(code),
        _ => None,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the field's type")]
pub(crate) fn cny(minor: i64) -> Option<Money> {
    Some(Money { currency: "CNY".to_owned(), minor })
}

/// The body of a notification with these fields, signed with this key as Alipay signs.
pub(crate) fn signed_form(fields: &BTreeMap<&'static str, String>, key: &TestKey) -> String {
    let text: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let sign = key.sign(&text.join("&"));
    Serializer::new(String::new())
        .extend_pairs(fields)
        .append_pair("sign_type", "RSA2")
        .append_pair("sign", &sign)
        .finish()
}

pub(crate) fn account_request(merchant_id: &str, app: &AppView) -> CreateChannelAccountRequest {
    CreateChannelAccountRequest {
        merchant_id: merchant_id.to_owned(),
        label: "main".to_owned(),
        account: Some(Account::Alipay(AlipayAccount {
            app_id: app.app_id.clone(),
            seller_id: app.seller_id.clone(),
            gateway_url: app.gateway_url.clone(),
        })),
        alipay_keys: Some(AlipayKeys {
            app_private_key: APP_KEY.private.clone(),
            alipay_public_key: app.alipay_public_key.clone(),
        }),
    }
}

/// Configures an account, as a draft.
pub(crate) async fn configure_account(
    channel_accounts: &ChannelAccountServiceClient<Channel>,
    request: CreateChannelAccountRequest,
) -> Result<ChannelAccount, Status> {
    let response = channel_accounts.clone().create_channel_account(keyed(request)).await?;
    Ok(response.into_inner().channel_account.unwrap())
}

/// Configures an account, tests its keys and activates it.
pub(crate) async fn create_account(
    channel_accounts: &ChannelAccountServiceClient<Channel>,
    request: CreateChannelAccountRequest,
) -> Result<ChannelAccount, Status> {
    let ChannelAccount { merchant_id, channel_account_id, .. } =
        configure_account(channel_accounts, request).await?;
    let test = TestChannelAccountRequest {
        merchant_id: merchant_id.clone(),
        channel_account_id: channel_account_id.clone(),
        channel_credential_id: String::new(),
    };
    let test = channel_accounts.clone().test_channel_account(test).await?.into_inner();
    assert!(test.passed, "{test:?}");
    let activate = ActivateChannelAccountRequest { merchant_id, channel_account_id };
    let active = channel_accounts.clone().activate_channel_account(activate).await?.into_inner();
    Ok(active.channel_account.unwrap())
}
