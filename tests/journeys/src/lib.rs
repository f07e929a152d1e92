//! Journeys across services: one platform for all tests of a process, and a merchant of its own for each.

use std::sync::OnceLock;

use secrecy::SecretString;
use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tael::clients::{Clients, keyed};
use tael::platform::{Addresses, Platform, Ports, Settings};
use tael::shop::Shop;
use tael_proto::order::v1::{CreateOrderRequest, Fulfilment, GetOrderRequest, NewLine, Order, OrderState};
use tael_proto::payment::v1::{CreatePaymentRequest, GetPaymentRequest, Payment, PaymentState, next_action};
use tael_proto::r#type::v1::{Channel, Method, Money};
use tael_sandbox::control::{AddFault, Fault, TradeRef, TradeView};
use tael_testkit::eventually;
use tokio::runtime::Runtime;

/// Returns the platform, started by whoever needs it first. It lives on a runtime of its own, for each test's
/// runtime ends with the test.
pub fn platform() -> &'static Addresses {
    static PLATFORM: OnceLock<(Runtime, Platform)> = OnceLock::new();
    let (_, platform) = PLATFORM.get_or_init(|| {
        tael_testkit::logs();
        std::thread::spawn(|| {
            let runtime = Runtime::new().expect("the machine lets us start threads");
            let platform =
                runtime.block_on(Platform::start(settings("tael_journeys"))).expect("the platform starts");
            (runtime, platform)
        })
        .join()
        .expect("the platform starts")
    });
    &platform.addresses
}

/// The settings of a platform whose databases begin with a prefix of its own.
pub fn settings(prefix: &'static str) -> Settings {
    let variable = |name| SecretString::from(std::env::var(name).expect("set as `make test` does"));
    Settings {
        database_url: variable("TAEL_DATABASE_URL"),
        redis_url: variable("TAEL_REDIS_URL"),
        prefix,
        fresh: true,
        // As in production, so that every journey also says that the role's rights suffice.
        own_role: true,
        ports: Ports::Free,
        sealing_keys: tael_sealed::Keyring::generate_text("test"),
        certificates: None,
        sandbox_keys: None,
    }
}

/// Connects to a service's database of the platform.
pub async fn database(service: &str) -> PgPool {
    let server = std::env::var("TAEL_DATABASE_URL").expect("set as `make test` does");
    let options: PgConnectOptions = server.parse().expect("an address");
    let options = options.database(&format!("tael_journeys_{service}"));
    PgPoolOptions::new().max_connections(1).connect_with(options).await.expect("the database is there")
}

/// A merchant with clients to act for it.
#[derive(Clone, Debug)]
pub struct Seller {
    /// Clients of all services.
    pub clients: Clients,
    /// The merchant's shop.
    pub shop: Shop,
}

/// An amount in fen.
pub fn cny(minor: i64) -> Option<Money> {
    Some(Money { currency: "CNY".to_owned(), minor })
}

impl Seller {
    /// Opens a shop on the platform.
    pub async fn open() -> Self {
        let mut clients = Clients::connect(platform()).expect("the addresses are valid");
        let shop = Shop::open(&mut clients, "journeys").await.expect("a shop can be opened");
        Self { clients, shop }
    }

    /// Creates an order of 3 × 33.30 shipped and 1 × 50.00 by voucher: 149.90 in all.
    pub async fn order(&mut self) -> Order {
        let line = |sku: &str, quantity, price, fulfilment: Fulfilment| NewLine {
            sku: sku.to_owned(),
            name: sku.to_owned(),
            quantity,
            unit_price: cny(price),
            fulfilment: fulfilment.into(),
        };
        let create = CreateOrderRequest {
            merchant_id: self.shop.id(),
            lines: vec![
                line("GOODS", 3, 33_30, Fulfilment::Shipped),
                line("TICKET", 1, 50_00, Fulfilment::Voucher),
            ],
            ..CreateOrderRequest::default()
        };
        self.clients
            .order
            .create_order(keyed(create))
            .await
            .expect("an order")
            .into_inner()
            .order
            .expect("an order")
    }

    /// What is asked to pay an order.
    pub fn payment_request(&self, order: &Order) -> CreatePaymentRequest {
        CreatePaymentRequest {
            merchant_id: self.shop.id(),
            order_id: order.order_id.clone(),
            method: Method::QrCode.into(),
            channel: Channel::Alipay.into(),
            ..CreatePaymentRequest::default()
        }
    }

    /// Creates a payment for an order.
    pub async fn payment(&mut self, order: &Order) -> Payment {
        let create = keyed(self.payment_request(order));
        self.clients
            .payment
            .create_payment(create)
            .await
            .expect("a payment")
            .into_inner()
            .payment
            .expect("a payment")
    }

    /// The payer pays at the channel.
    pub async fn pay(&self, payment: &Payment) -> TradeView {
        let action = payment.next_action.clone().and_then(|next| next.action);
        let Some(next_action::Action::QrCode(qr_code)) = action else { panic!("no QR code: {payment:?}") };
        self.clients.payer.pay(TradeRef::code(qr_code)).await.expect("the payer can pay")
    }

    /// Waits for a payment to be in a state.
    pub async fn payment_when(&self, payment_id: &str, state: PaymentState) -> Payment {
        eventually(&format!("payment {payment_id} to be {state:?}"), || {
            let mut client = self.clients.payment.clone();
            let get = GetPaymentRequest { merchant_id: self.shop.id(), payment_id: payment_id.to_owned() };
            async move {
                let payment = client.get_payment(get).await.expect("a payment").into_inner().payment?;
                (payment.state() == state).then_some(payment)
            }
        })
        .await
    }

    /// Waits for an order to be as wanted.
    pub async fn order_when(&self, order_id: &str, what: &str, wanted: impl Fn(&Order) -> bool) -> Order {
        eventually(&format!("order {order_id} {what}"), || {
            let mut client = self.clients.order.clone();
            let get = GetOrderRequest {
                merchant_id: self.shop.id(),
                order_id: order_id.to_owned(),
                ..Default::default()
            };
            let wanted = &wanted;
            async move {
                let order = client.get_order(get).await.expect("an order").into_inner().order?;
                wanted(&order).then_some(order)
            }
        })
        .await
    }

    /// Creates an order and sees it paid.
    pub async fn sell(&mut self) -> (Order, Payment) {
        let order = self.order().await;
        let payment = self.payment(&order).await;
        self.pay(&payment).await;
        let order = self.order_when(&order.order_id, "to be paid", |o| o.state() == OrderState::Paid).await;
        let payment = self.payment_when(&payment.payment_id, PaymentState::Succeeded).await;
        (order, payment)
    }

    /// Makes something go wrong at the channel, once, for this merchant; for one operation where that is given.
    pub async fn fault(&self, operation: Option<&str>, fault: Fault) {
        let mut add = AddFault::new(fault).account(&self.shop.app.app_id).times(1);
        add.operation = operation.map(str::to_owned);
        self.clients.payer.add_fault(&add).await.expect("a fault can be ordered");
    }

    /// Says whether everything that was to go wrong for this merchant did.
    pub async fn faults_are_used_up(&self) -> bool {
        let faults = self.clients.payer.faults().await.expect("the faults can be listed");
        faults.iter().all(|fault| fault.rule.account.as_deref() != Some(&self.shop.app.app_id))
    }
}
