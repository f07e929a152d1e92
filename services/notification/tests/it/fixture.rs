//! A running notification service and what stands around it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use sqlx::Postgres;
use sqlx::pool::PoolConnection;
use tael_clock::Clock;
use tael_egress::Policy;
use tael_grpc::client::Channel;
use tael_ids::MerchantId;
use tael_notification::{App, Config, Webhooks};
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{OrderPaid, PaymentSucceeded};
use tael_proto::notification::v1::delivery_service_client::DeliveryServiceClient;
use tael_proto::notification::v1::webhook_endpoint_service_client::WebhookEndpointServiceClient;
use tael_proto::notification::v1::{
    CreateWebhookEndpointRequest, CreateWebhookEndpointResponse, Delivery, DeliveryState,
    EnableWebhookEndpointRequest, GetDeliveryRequest, ListDeliveriesRequest, ListWebhookEndpointsRequest,
    WebhookEndpoint, WebhookEndpointState,
};
use tael_proto::r#type::v1::Money;
use tael_runtime::ServiceConfig;
use tael_sealed::Keyring;
use tael_testkit::{Link, Running, TestDatabase, eventually, keyed, redis_url};
use tonic::Status;

use crate::logs::FakeLog;
use crate::receiver::Receiver;

pub(crate) struct Fixture {
    pub(crate) endpoint_client: WebhookEndpointServiceClient<Channel>,
    pub(crate) delivery_client: DeliveryServiceClient<Channel>,
    pub(crate) order_log: FakeLog,
    pub(crate) payment_log: FakeLog,
    pub(crate) refund_log: FakeLog,
    pub(crate) settlement_log: FakeLog,
    pub(crate) clock: Clock,
    pub(crate) merchant_id: MerchantId,
    pub(crate) running: Running,
    config: Config,
    database: TestDatabase,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::with(redis_url(), |_| {}).await
    }

    /// Starts with another Redis and other settings. By default everything is allowed and an endpoint has
    /// 5 s for its answer.
    pub(crate) async fn with(redis_url: SecretString, change: impl FnOnce(&mut Config)) -> Self {
        let database = TestDatabase::of::<App>().await;
        let url = database.url();
        Self::build(database, url, redis_url, change).await
    }

    /// Starts with a link before the database.
    pub(crate) async fn over_a_link() -> (Self, Link) {
        let database = TestDatabase::of::<App>().await;
        let (link, url) = database.link().await;
        (Self::build(database, url, redis_url(), |_| {}).await, link)
    }

    async fn build(
        database: TestDatabase,
        database_url: SecretString,
        redis_url: SecretString,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        let logs =
            [FakeLog::start().await, FakeLog::start().await, FakeLog::start().await, FakeLog::start().await];
        let webhooks = Webhooks {
            timeout: Duration::from_secs(5),
            retry_speed: NonZeroU32::MIN,
            traceparent: false,
            poll: Duration::from_millis(20),
        };
        let mut config = Config {
            base: ServiceConfig {
                listen: ([127, 0, 0, 1], 0).into(),
                database_url,
                database_connections: 16,
                migrate_at_start: true,
                redis_url,
                event_retention_days: None,
                principal_keys: None,
                health_listen: None,
                tls: None,
                max_in_flight: tael_runtime::ServiceConfig::MAX_IN_FLIGHT,
            },
            order_url: logs[0].url(),
            payment_url: logs[1].url(),
            refund_url: logs[2].url(),
            settlement_url: logs[3].url(),
            keyring: Arc::new(Keyring::generate()),
            egress: Policy::development(),
            webhooks,
        };
        change(&mut config);
        let clock = Clock::manual("2026-03-01T08:00:01Z".parse::<Timestamp>().unwrap());
        let running = tael_testkit::run::<App>(config.clone(), clock.clone()).await;
        let endpoint_client = WebhookEndpointServiceClient::new(running.channel());
        let delivery_client = DeliveryServiceClient::new(running.channel());
        let [order_log, payment_log, refund_log, settlement_log] = logs;
        Self {
            endpoint_client,
            delivery_client,
            order_log,
            payment_log,
            refund_log,
            settlement_log,
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

    pub(crate) fn request(&self, url: &str, event_types: &[&str]) -> CreateWebhookEndpointRequest {
        CreateWebhookEndpointRequest {
            merchant_id: self.merchant_id.to_string(),
            url: url.to_owned(),
            event_types: event_types.iter().map(|t| (*t).to_owned()).collect(),
        }
    }

    pub(crate) async fn try_endpoint(
        &self,
        url: &str,
        event_types: &[&str],
    ) -> Result<CreateWebhookEndpointResponse, Status> {
        let request = keyed(self.request(url, event_types));
        self.endpoint_client.clone().create_webhook_endpoint(request).await.map(tonic::Response::into_inner)
    }

    /// Registers an endpoint and returns its id and secret.
    pub(crate) async fn endpoint(&self, receiver: &Receiver, event_types: &[&str]) -> (String, String) {
        let created = self.try_endpoint(&receiver.url, event_types).await.unwrap();
        (created.webhook_endpoint.unwrap().webhook_endpoint_id, created.secret)
    }

    /// Registers an endpoint of another merchant and returns that merchant.
    pub(crate) async fn endpoint_of_another(&self, receiver: &Receiver) -> MerchantId {
        let merchant_id = MerchantId::new();
        let mut request = self.request(&receiver.url, &[]);
        request.merchant_id = merchant_id.to_string();
        self.endpoint_client.clone().create_webhook_endpoint(keyed(request)).await.unwrap();
        merchant_id
    }

    /// The merchant's endpoints, newest first.
    pub(crate) async fn endpoints(&self) -> Vec<WebhookEndpoint> {
        let request =
            ListWebhookEndpointsRequest { merchant_id: self.merchant_id.to_string(), ..Default::default() };
        self.endpoint_client
            .clone()
            .list_webhook_endpoints(request)
            .await
            .unwrap()
            .into_inner()
            .webhook_endpoints
    }

    /// Waits until the only endpoint is in this state, and returns it.
    pub(crate) async fn endpoint_in(&self, state: WebhookEndpointState) -> WebhookEndpoint {
        eventually("the endpoint's state", || async {
            self.endpoints().await.pop().filter(|endpoint| endpoint.state() == state)
        })
        .await
    }

    pub(crate) async fn enable(&self, webhook_endpoint_id: &str) -> WebhookEndpoint {
        let request = EnableWebhookEndpointRequest {
            merchant_id: self.merchant_id.to_string(),
            webhook_endpoint_id: webhook_endpoint_id.to_owned(),
        };
        let answer = self.endpoint_client.clone().enable_webhook_endpoint(keyed(request)).await.unwrap();
        answer.into_inner().webhook_endpoint.unwrap()
    }

    /// Makes it known that an order was paid; returns the event's id.
    pub(crate) fn order_paid(&self) -> String {
        self.order_log.append(self.merchant_id, order_paid())
    }

    pub(crate) async fn deliveries(&self) -> Vec<Delivery> {
        let request =
            ListDeliveriesRequest { merchant_id: self.merchant_id.to_string(), ..Default::default() };
        self.delivery_client.clone().list_deliveries(request).await.unwrap().into_inner().deliveries
    }

    pub(crate) async fn get(&self, delivery_id: &str) -> Delivery {
        let request = GetDeliveryRequest {
            merchant_id: self.merchant_id.to_string(),
            delivery_id: delivery_id.to_owned(),
        };
        self.delivery_client.clone().get_delivery(request).await.unwrap().into_inner().delivery.unwrap()
    }

    /// Waits until the only delivery was tried so often, and returns it.
    pub(crate) async fn tried(&self, attempts: usize) -> Delivery {
        eventually("the delivery to be tried", || async {
            self.deliveries().await.pop().filter(|d| d.attempts.len() >= attempts)
        })
        .await
    }

    /// Waits until every delivery has ended in this state, of which there must be `count`.
    pub(crate) async fn all_in(&self, state: DeliveryState, count: usize) -> Vec<Delivery> {
        eventually("the deliveries to end", || async {
            let all = self.deliveries().await;
            (all.len() == count && all.iter().all(|d| d.state() == state)).then_some(all)
        })
        .await
    }

    pub(crate) fn advance_secs(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    /// From now on a COMMIT of tries waits for as long as the connection that is returned holds its lock.
    pub(crate) async fn hold_up_commits_of_tries(&self) -> PoolConnection<Postgres> {
        let mut holder = self.database.pool().acquire().await.unwrap();
        for sql in [
            "create function wait_at_commit() returns trigger language plpgsql as
             'begin perform pg_advisory_xact_lock(42); return null; end'",
            "create constraint trigger wait_at_commit after insert on delivery_attempt
             deferrable initially deferred for each row execute function wait_at_commit()",
            "select pg_advisory_lock(42)",
        ] {
            sqlx::query(sql).execute(&mut *holder).await.unwrap();
        }
        holder
    }

    /// Waits until a COMMIT of tries waits.
    pub(crate) async fn commit_is_held_up(&self) {
        let pool = self.database.pool();
        let sql = "select count(*) from pg_stat_activity
                   where datname = current_database() and wait_event = 'advisory'";
        eventually("a commit to wait", || async {
            let waiting: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap();
            (waiting > 0).then_some(())
        })
        .await;
    }

    /// The tries of the merchant's only delivery and the failures of its only endpoint, as they are stored.
    pub(crate) async fn recorded(&self) -> (i32, i32) {
        let sql = "select d.attempts, e.failures
                   from delivery d join webhook_endpoint e using (merchant_id, webhook_endpoint_id)
                   where merchant_id = $1";
        sqlx::query_as(sql).bind(self.merchant_id.uuid()).fetch_one(&self.database.pool()).await.unwrap()
    }

    /// Changes where the only endpoint leads, as the owner of its name could.
    pub(crate) async fn point_endpoint_to(&self, url: &str) {
        let sql = "update webhook_endpoint set url = $1";
        sqlx::query(sql).bind(url).execute(&self.database.pool()).await.unwrap();
    }

    pub(crate) async fn endpoint_rows(&self) -> i64 {
        let sql = "select count(*) from webhook_endpoint";
        sqlx::query_scalar(sql).fetch_one(&self.database.pool()).await.unwrap()
    }

    /// The only endpoint's secret as it is stored.
    pub(crate) async fn stored_secret(&self) -> Vec<u8> {
        let sql = "select sealed_secret from webhook_endpoint";
        sqlx::query_scalar(sql).fetch_one(&self.database.pool()).await.unwrap()
    }
}

pub(crate) fn order_paid() -> Kind {
    Kind::OrderPaid(OrderPaid {
        order_id: "ord_1".to_owned(),
        payment_id: "pay_1".to_owned(),
        amount: Some(Money { currency: "CNY".to_owned(), minor: 16_800 }),
    })
}

pub(crate) fn payment_succeeded() -> Kind {
    Kind::PaymentSucceeded(PaymentSucceeded { payment_id: "pay_1".to_owned(), ..PaymentSucceeded::default() })
}
