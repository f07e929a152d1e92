//! A running refund service and what stands around it.

use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use tael_clock::Clock;
use tael_grpc::client::Channel;
use tael_ids::{LineId, MerchantId, OrderId, PaymentId};
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::event::v1::{Event, ReadEventsRequest};
use tael_proto::order::v1::{Fulfilment, OrderLine, OrderState, PayableOrder, PriceBreakdown};
use tael_proto::refund::v1::create_refund_request::Scope;
use tael_proto::refund::v1::refund_policy_service_client::RefundPolicyServiceClient;
use tael_proto::refund::v1::refund_service_client::RefundServiceClient;
use tael_proto::refund::v1::{
    CreateRefundRequest, FullRefund, GetRefundRequest, LineQuantity, LinesRefund, Refund, RefundPolicy,
    SetRefundPolicyRequest,
};
use tael_proto::r#type::v1::Money;
use tael_refund::{App, Config};
use tael_runtime::ServiceConfig;
use tael_testkit::{Link, Running, TestDatabase, eventually, keyed, redis_url};
use tonic::Status;

use crate::peers::{Answer, FakeOrders, FakePayments};

/// When the orders of the tests were paid; the clock stands a day later.
pub(crate) const PAID: &str = "2026-03-01T08:00:00Z";

pub(crate) struct Fixture {
    pub(crate) refunds: RefundServiceClient<Channel>,
    pub(crate) policies: RefundPolicyServiceClient<Channel>,
    pub(crate) orders: FakeOrders,
    pub(crate) payments: FakePayments,
    pub(crate) clock: Clock,
    pub(crate) merchant_id: MerchantId,
    pub(crate) running: Running,
    config: Config,
    database: TestDatabase,
}

async fn link_to(url: &mut String) -> Link {
    let server = url.strip_prefix("http://").unwrap().parse().unwrap();
    let link = Link::to(server).await;
    *url = format!("http://{}", link.addr());
    link
}

impl Fixture {
    /// Everything works and every refund succeeds.
    pub(crate) async fn start() -> Self {
        Self::with_redis(redis_url()).await
    }

    pub(crate) async fn with_redis(redis_url: SecretString) -> Self {
        Self::with(redis_url, async |_| {}).await
    }

    /// Starts with links before the order and the payment service.
    pub(crate) async fn over_links() -> (Self, [Link; 2]) {
        let mut links = None;
        let fixture = Self::with(redis_url(), async |config| {
            let order = link_to(&mut config.order_url).await;
            links = Some([order, link_to(&mut config.payment_url).await]);
        })
        .await;
        (fixture, links.expect("made with the fixture"))
    }

    async fn with(redis_url: SecretString, change: impl AsyncFnOnce(&mut Config)) -> Self {
        let database = TestDatabase::of::<App>().await;
        let orders = FakeOrders::start().await;
        let payments = FakePayments::new(Answer::Succeeded);
        let clock = Clock::manual(PAID.parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_hours(24));
        let mut config = Config {
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
            order_url: orders.server.url(),
            payment_url: payments.start().await,
            retry_first: Duration::from_secs(2),
            retry_poll: Duration::from_millis(20),
        };
        change(&mut config).await;
        let running = tael_testkit::run::<App>(config.clone(), clock.clone()).await;
        let refunds = RefundServiceClient::new(running.channel());
        let policies = RefundPolicyServiceClient::new(running.channel());
        Self {
            refunds,
            policies,
            orders,
            payments,
            clock,
            merchant_id: MerchantId::new(),
            running,
            config,
            database,
        }
    }

    /// Starts one more replica on the same database.
    pub(crate) async fn replica(&self) -> Running {
        tael_testkit::run::<App>(self.config.clone(), self.clock.clone()).await
    }

    /// Ends the service as a crash would; a replica goes on.
    pub(crate) async fn crash(&mut self) {
        let replica = self.replica().await;
        self.refunds = RefundServiceClient::new(replica.channel());
        self.policies = RefundPolicyServiceClient::new(replica.channel());
        std::mem::replace(&mut self.running, replica).kill();
    }

    /// An order of two lines that was paid: 3 units for 100.00 and 2 units for 60.00, with 8.00 for shipping.
    pub(crate) fn paid_order(&self) -> PayableOrder {
        let order = PayableOrder {
            order_id: OrderId::new().to_string(),
            merchant_id: self.merchant_id.to_string(),
            state: OrderState::Paid.into(),
            lines: vec![line(3, 10_000), line(2, 6_000)],
            price: Some(PriceBreakdown {
                items: cny(16_000),
                discount: cny(0),
                shipping: cny(800),
                total: cny(16_800),
                promotion_id: String::new(),
            }),
            payment_id: PaymentId::new().to_string(),
            pay_time: Some(prost_types::Timestamp {
                seconds: PAID.parse::<Timestamp>().unwrap().as_second(),
                nanos: 0,
            }),
            ..PayableOrder::default()
        };
        self.orders.put(order.clone());
        order
    }

    /// The same with 2 units that come as uses of a voucher instead.
    pub(crate) fn voucher_order(&self) -> PayableOrder {
        let mut order = self.paid_order();
        order.lines[1].set_fulfilment(Fulfilment::Voucher);
        self.orders.put(order.clone());
        order
    }

    pub(crate) fn request(&self, order: &PayableOrder, scope: Scope) -> CreateRefundRequest {
        CreateRefundRequest {
            merchant_id: self.merchant_id.to_string(),
            order_id: order.order_id.clone(),
            scope: Some(scope),
            reason: "wrong size".to_owned(),
            force_reason: String::new(),
        }
    }

    pub(crate) async fn create(&self, order: &PayableOrder, scope: Scope) -> Result<Refund, Status> {
        let request = keyed(self.request(order, scope));
        self.refunds.clone().create_refund(request).await.map(|r| r.into_inner().refund.unwrap())
    }

    pub(crate) async fn get(&self, refund: &Refund) -> Refund {
        let request =
            GetRefundRequest { merchant_id: refund.merchant_id.clone(), refund_id: refund.refund_id.clone() };
        self.refunds.clone().get_refund(request).await.unwrap().into_inner().refund.unwrap()
    }

    /// Every refund above this amount needs a person.
    pub(crate) async fn limit(&self, minor: i64) {
        let policy = RefundPolicy { window_days: 90, auto_approve_limits: vec![money("CNY", minor)] };
        let request =
            SetRefundPolicyRequest { merchant_id: self.merchant_id.to_string(), policy: Some(policy) };
        self.policies.clone().set_refund_policy(keyed(request)).await.unwrap();
    }

    /// Everything the service has said in its log, kinds only.
    pub(crate) async fn said(&self) -> Vec<String> {
        let sql = "select kind from event_log order by tx, seq";
        sqlx::query_scalar(sql).fetch_all(&self.database.pool()).await.unwrap()
    }

    /// The log as a consumer reads it, as soon as it holds so many events.
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

    pub(crate) async fn count(&self, table: &'static str) -> i64 {
        let sql = match table {
            "refund" => "select count(*) from refund",
            "refund_policy" => "select count(*) from refund_policy",
            "event_set_aside" => "select count(*) from event_set_aside",
            other => panic!("no count for {other}"),
        };
        sqlx::query_scalar(sql).fetch_one(&self.database.pool()).await.unwrap()
    }

    /// What is reserved and refunded of an order.
    pub(crate) async fn sums(&self) -> (i64, i64) {
        sqlx::query_as("select reserved_minor, refunded_minor from refund_order")
            .fetch_one(&self.database.pool())
            .await
            .unwrap()
    }
}

pub(crate) fn line(quantity: u32, total: i64) -> OrderLine {
    OrderLine {
        line_id: LineId::new().to_string(),
        sku: "TEE-M".to_owned(),
        name: "T-shirt".to_owned(),
        quantity,
        total: cny(total),
        ..OrderLine::default()
    }
}

pub(crate) fn money(currency: &str, minor: i64) -> Money {
    Money { currency: currency.to_owned(), minor }
}

#[expect(clippy::unnecessary_wraps, reason = "the field's type")]
pub(crate) fn cny(minor: i64) -> Option<Money> {
    Some(money("CNY", minor))
}

pub(crate) fn full() -> Scope {
    Scope::Full(FullRefund {})
}

pub(crate) fn amount(minor: i64) -> Scope {
    Scope::Amount(money("CNY", minor))
}

/// So many units of the order's line at `index`.
pub(crate) fn units(order: &PayableOrder, index: usize, quantity: u32) -> Scope {
    let line_id = order.lines[index].line_id.clone();
    Scope::Lines(LinesRefund { lines: vec![LineQuantity { line_id, quantity }] })
}

pub(crate) fn minor(refund: &Refund) -> i64 {
    refund.amount.as_ref().unwrap().minor
}
