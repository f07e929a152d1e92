//! A running order service, and short words for what tests do with it.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use secrecy::SecretString;
use tael_clock::Clock;
use tael_grpc::client::Channel;
use tael_ids::{LineId, MerchantId, PaymentId, RefundId};
use tael_order::{App, Config};
use tael_proto::event::v1::event_log_service_client::EventLogServiceClient;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{
    Event, Payload, PaymentRefunded, PaymentSucceeded, ReadEventsRequest, RefundSucceeded, RefundedLine,
};
use tael_proto::order::v1::order_service_client::OrderServiceClient;
use tael_proto::order::v1::promotion_service_client::PromotionServiceClient;
use tael_proto::order::v1::unapplied_payment_service_client::UnappliedPaymentServiceClient;
use tael_proto::order::v1::voucher_service_client::VoucherServiceClient;
use tael_proto::order::v1::{
    CancelOrderRequest, CreateOrderRequest, CreatePromotionRequest, Fulfilment, GetOrderRequest,
    GetVoucherRequest, LatePaymentAction, LatePaymentPolicy, ListUnappliedPaymentsRequest,
    ListUnappliedPaymentsResponse, NewLine, Order, OrderState, Promotion, ResolveUnappliedPaymentRequest,
    SetLatePaymentPolicyRequest, UnappliedPayment, UnappliedPaymentState, Voucher,
};
use tael_proto::r#type::v1::{Channel as PaymentChannel, Method, Money};
use tael_runtime::ServiceConfig;
use tael_sealed::Keyring;
use tael_testkit::{Link, Running, TestDatabase, eventually, keyed};
use tonic::{Code, Status};

use crate::peers::{FakeLog, FakePayments};

/// When the clock of a test begins.
pub(crate) const START: &str = "2026-11-21T08:00:00Z";

pub(crate) struct Fixture {
    pub(crate) orders: OrderServiceClient<Channel>,
    pub(crate) merchant: MerchantId,
    pub(crate) payments: FakePayments,
    pub(crate) refunds: FakeLog,
    pub(crate) clock: Clock,
    // In the order in which they are to end.
    pub(crate) running: Running,
    pub(crate) database: TestDatabase,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::with_redis(tael_testkit::redis_url()).await
    }

    pub(crate) async fn with_redis(redis_url: SecretString) -> Self {
        let database = TestDatabase::of::<App>().await;
        let url = database.url();
        Self::with(database, url, redis_url).await
    }

    /// Starts with a link before the database.
    pub(crate) async fn over_a_link() -> (Self, Link) {
        let database = TestDatabase::of::<App>().await;
        let (link, url) = database.link().await;
        (Self::with(database, url, tael_testkit::redis_url()).await, link)
    }

    async fn with(database: TestDatabase, database_url: SecretString, redis_url: SecretString) -> Self {
        let payments = FakePayments::default();
        let refunds = FakeLog::default();
        let config = Config {
            base: ServiceConfig {
                listen: "127.0.0.1:0".parse().unwrap(),
                database_url,
                database_connections: 8,
                migrate_at_start: true,
                redis_url,
                event_retention_days: None,
                principal_keys: None,
                health_listen: None,
                tls: None,
                max_in_flight: tael_runtime::ServiceConfig::MAX_IN_FLIGHT,
            },
            payment_url: payments.serve().await,
            refund_url: refunds.serve().await,
            keyring: Arc::new(Keyring::generate()),
            expiry_interval: Duration::from_millis(20),
            refund_interval: Duration::from_millis(20),
        };
        let clock = Clock::manual(START.parse().unwrap());
        let running = tael_testkit::run::<App>(config, clock.clone()).await;
        Self {
            orders: OrderServiceClient::new(running.channel()),
            merchant: MerchantId::new(),
            payments,
            refunds,
            clock,
            running,
            database,
        }
    }

    pub(crate) fn unapplied(&self) -> UnappliedPaymentServiceClient<Channel> {
        UnappliedPaymentServiceClient::new(self.running.channel())
    }

    pub(crate) fn promotions(&self) -> PromotionServiceClient<Channel> {
        PromotionServiceClient::new(self.running.channel())
    }

    pub(crate) fn vouchers(&self) -> VoucherServiceClient<Channel> {
        VoucherServiceClient::new(self.running.channel())
    }

    /// A request for an order with these lines.
    pub(crate) fn request(&self, lines: Vec<NewLine>) -> CreateOrderRequest {
        CreateOrderRequest { merchant_id: self.merchant.to_string(), lines, ..CreateOrderRequest::default() }
    }

    pub(crate) async fn create(&self, request: CreateOrderRequest) -> Order {
        self.orders.clone().create_order(keyed(request)).await.unwrap().into_inner().order.unwrap()
    }

    /// An order of 30.00 CNY without frills.
    pub(crate) async fn order(&self) -> Order {
        self.create(self.request(vec![line("tea", 2, cny(1_500))])).await
    }

    pub(crate) async fn get(&self, order: &Order) -> Order {
        let request = GetOrderRequest {
            merchant_id: order.merchant_id.clone(),
            order_id: order.order_id.clone(),
            with_contact: true,
        };
        self.orders.clone().get_order(request).await.unwrap().into_inner().order.unwrap()
    }

    /// Waits until an order looks as wanted.
    pub(crate) async fn until(&self, what: &str, order: &Order, wanted: impl Fn(&Order) -> bool) -> Order {
        eventually(what, || async { Some(self.get(order).await).filter(&wanted) }).await
    }

    pub(crate) async fn until_state(&self, order: &Order, state: OrderState) -> Order {
        self.until(state.as_str_name(), order, |order| order.state() == state).await
    }

    /// Lets a payment of the order's total succeed and waits until the order has it.
    pub(crate) async fn pay(&self, order: &Order) -> Order {
        self.payments.log.push(self.merchant, succeeded(order, PaymentId::new(), total(order)));
        self.until_state(order, OrderState::Paid).await
    }

    pub(crate) async fn cancel(&self, order: &Order) -> Result<Order, Status> {
        let request =
            CancelOrderRequest { merchant_id: order.merchant_id.clone(), order_id: order.order_id.clone() };
        Ok(self.orders.clone().cancel_order(keyed(request)).await?.into_inner().order.unwrap())
    }

    /// A cancelled order of 30.00 CNY.
    pub(crate) async fn cancelled(&self) -> Order {
        let order = self.order().await;
        self.cancel(&order).await.unwrap()
    }

    pub(crate) async fn policy(&self, closed_order: LatePaymentAction, overpayment: LatePaymentAction) {
        let policy = LatePaymentPolicy { closed_order: closed_order.into(), overpayment: overpayment.into() };
        let request =
            SetLatePaymentPolicyRequest { merchant_id: self.merchant.to_string(), policy: Some(policy) };
        self.unapplied().set_late_payment_policy(keyed(request)).await.unwrap();
    }

    /// Lets a payment of the order's total succeed and waits until its money is in one of these states.
    pub(crate) async fn late(&self, order: &Order, state: UnappliedPaymentState) -> UnappliedPayment {
        let payment = PaymentId::new();
        self.payments.log.push(self.merchant, succeeded(order, payment, total(order)));
        self.until_held(order, payment, state).await
    }

    /// Waits until money that came for an order is in a state.
    pub(crate) async fn until_held(
        &self,
        order: &Order,
        payment: PaymentId,
        state: UnappliedPaymentState,
    ) -> UnappliedPayment {
        eventually(state.as_str_name(), || async {
            let held = self.get(order).await.unapplied_payments;
            held.into_iter().find(|h| h.payment_id == payment.to_string() && h.state() == state)
        })
        .await
    }

    pub(crate) fn resolution(
        &self,
        order: &Order,
        held: &UnappliedPayment,
        action: LatePaymentAction,
    ) -> ResolveUnappliedPaymentRequest {
        ResolveUnappliedPaymentRequest {
            merchant_id: self.merchant.to_string(),
            order_id: order.order_id.clone(),
            payment_id: held.payment_id.clone(),
            action: action.into(),
            operator: "Li".to_owned(),
        }
    }

    pub(crate) async fn resolve(
        &self,
        order: &Order,
        held: &UnappliedPayment,
        action: LatePaymentAction,
    ) -> Result<Order, Status> {
        let request = self.resolution(order, held, action);
        let answer = self.unapplied().resolve_unapplied_payment(keyed(request)).await?.into_inner();
        assert_eq!(answer.unapplied_payment.unwrap().payment_id, held.payment_id);
        Ok(self.get(order).await)
    }

    /// A page of so many held payments.
    pub(crate) async fn list_held(&self, page_size: u32, page_token: &str) -> ListUnappliedPaymentsResponse {
        let request = ListUnappliedPaymentsRequest {
            merchant_id: self.merchant.to_string(),
            page_size,
            page_token: page_token.to_owned(),
        };
        self.unapplied().list_unapplied_payments(request).await.unwrap().into_inner()
    }

    /// Waits until so many unclear answers to a refund were noted, and returns when it is to be asked for again.
    pub(crate) async fn until_tried(&self, refund_id: &str, tries: i32) -> jiff::Timestamp {
        let refund: RefundId = refund_id.parse().unwrap();
        eventually("an unclear answer to be noted", || async {
            let sql = "select next_try_time from held_payment where refund_id = $1 and tries = $2";
            let due: Option<jiff_sqlx::Timestamp> = sqlx::query_scalar(sql)
                .bind(refund.uuid())
                .bind(tries)
                .fetch_optional(&self.database.pool())
                .await
                .unwrap();
            due.map(jiff_sqlx::Timestamp::to_jiff)
        })
        .await
    }

    /// Waits until everything that was pushed to the payment service's log so far was applied: what is in the log behind
    /// it has its effect.
    pub(crate) async fn until_consumed(&self) {
        let last = self.order().await;
        self.pay(&last).await;
    }

    /// What was said of an order's money so far, oldest first: "held", "accepted", "given back" and "paid". Looked up where
    /// it lies, for a reader may see it a moment later.
    pub(crate) async fn told(&self, order: &Order) -> Vec<&'static str> {
        let sql = "select payload from event_log where aggregate_id = $1 order by seq";
        let payloads: Vec<Vec<u8>> =
            sqlx::query_scalar(sql).bind(&order.order_id).fetch_all(&self.database.pool()).await.unwrap();
        let told = |payload: Vec<u8>| match Payload::decode(payload.as_slice()).unwrap().kind.unwrap() {
            Kind::OrderPaymentHeld(_) => Some("held"),
            Kind::OrderPaymentReleased(released) if released.accepted => Some("accepted"),
            Kind::OrderPaymentReleased(_) => Some("given back"),
            Kind::OrderPaid(_) => Some("paid"),
            _ => None,
        };
        payloads.into_iter().filter_map(told).collect()
    }

    pub(crate) async fn promotion(&self, threshold: Money, saving: Money) -> Promotion {
        let request = CreatePromotionRequest {
            merchant_id: self.merchant.to_string(),
            name: "满减".to_owned(),
            threshold: Some(threshold),
            saving: Some(saving),
        };
        self.promotions().create_promotion(keyed(request)).await.unwrap().into_inner().promotion.unwrap()
    }

    pub(crate) async fn voucher(&self, code: &str) -> Result<Voucher, Status> {
        let request = GetVoucherRequest { merchant_id: self.merchant.to_string(), code: code.to_owned() };
        Ok(self.vouchers().get_voucher(request).await?.into_inner().voucher.unwrap())
    }

    /// Everything in the service's own log, oldest first.
    pub(crate) async fn events(&self) -> Vec<Event> {
        let mut log = EventLogServiceClient::new(self.running.channel());
        log.read_events(ReadEventsRequest {
            after: None,
            limit: 1000,
            wait_ms: 0,
            ..ReadEventsRequest::default()
        })
        .await
        .unwrap()
        .into_inner()
        .events
    }

    /// Waits until the log has so many events of the kinds wanted, and returns these.
    pub(crate) async fn until_events(&self, count: usize, wanted: impl Fn(&Kind) -> bool) -> Vec<Event> {
        eventually("events", || async {
            let events: Vec<Event> = self.events().await.into_iter().filter(|e| wanted(kind(e))).collect();
            Some(events).filter(|events| events.len() >= count)
        })
        .await
    }

    /// How many events of other services were set aside.
    pub(crate) async fn dead_letters(&self) -> Vec<String> {
        sqlx::query_scalar("select error from event_set_aside order by set_aside_time, event_id")
            .fetch_all(&self.database.pool())
            .await
            .unwrap()
    }
}

pub(crate) fn kind(event: &Event) -> &Kind {
    event.payload.as_ref().and_then(|p| p.kind.as_ref()).unwrap()
}

pub(crate) fn money(minor: i64, currency: &str) -> Money {
    Money { currency: currency.to_owned(), minor }
}

pub(crate) fn cny(minor: i64) -> Money {
    money(minor, "CNY")
}

pub(crate) fn line(sku: &str, quantity: u32, unit_price: Money) -> NewLine {
    NewLine {
        sku: sku.to_owned(),
        name: format!("<{sku}>"),
        quantity,
        unit_price: Some(unit_price),
        fulfilment: Fulfilment::Unspecified.into(),
    }
}

pub(crate) fn voucher_line(sku: &str, quantity: u32, unit_price: Money) -> NewLine {
    NewLine { fulfilment: Fulfilment::Voucher.into(), ..line(sku, quantity, unit_price) }
}

pub(crate) fn total(order: &Order) -> Money {
    order.price.as_ref().unwrap().total.clone().unwrap()
}

/// The channel's clock in these tests.
pub(crate) fn pay_time() -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: 1_795_250_000, nanos: 5_000_000 }
}

pub(crate) fn succeeded(order: &Order, payment: PaymentId, amount: Money) -> Kind {
    Kind::PaymentSucceeded(payment_succeeded(order, payment, amount))
}

/// A payment that the channel gave back at once.
pub(crate) fn succeeded_reversed(order: &Order, payment: PaymentId) -> Kind {
    let succeeded = payment_succeeded(order, payment, total(order));
    Kind::PaymentSucceeded(PaymentSucceeded { reversed: true, ..succeeded })
}

fn payment_succeeded(order: &Order, payment: PaymentId, amount: Money) -> PaymentSucceeded {
    PaymentSucceeded {
        payment_id: payment.to_string(),
        order_id: order.order_id.clone(),
        attempt_id: tael_ids::AttemptId::new().to_string(),
        amount: Some(amount),
        channel: PaymentChannel::Alipay.into(),
        channel_account_id: tael_ids::ChannelAccountId::new().to_string(),
        channel_transaction_id: "2026112122001".to_owned(),
        method: Method::QrCode.into(),
        pay_time: Some(pay_time()),
        ..PaymentSucceeded::default()
    }
}

/// The channel gave all of a payment back in closing it.
pub(crate) fn reversal(order: &Order, payment: PaymentId, refund: RefundId) -> Kind {
    Kind::PaymentRefunded(PaymentRefunded { reversal: true, ..payment_refunded(order, payment, refund) })
}

/// The channel executed a refund that somebody asked for.
pub(crate) fn payment_refunded(order: &Order, payment: PaymentId, refund: RefundId) -> PaymentRefunded {
    PaymentRefunded {
        payment_id: payment.to_string(),
        order_id: order.order_id.clone(),
        refund_id: refund.to_string(),
        attempt_id: tael_ids::AttemptId::new().to_string(),
        amount: Some(total(order)),
        refunded_total: Some(total(order)),
        payment_amount: Some(total(order)),
        channel: PaymentChannel::Alipay.into(),
        channel_account_id: tael_ids::ChannelAccountId::new().to_string(),
        refund_time: Some(pay_time()),
        ..PaymentRefunded::default()
    }
}

/// A refund of a paid order.
pub(crate) fn refunded(order: &Order, refund: RefundId, amount: Money, lines: &[(&str, u32)]) -> Kind {
    Kind::RefundSucceeded(RefundSucceeded {
        refund_id: refund.to_string(),
        order_id: order.order_id.clone(),
        payment_id: order.payment_id.clone(),
        amount: Some(amount),
        lines: lines
            .iter()
            .map(|(line, quantity)| RefundedLine {
                line_id: line.parse::<LineId>().unwrap().to_string(),
                quantity: *quantity,
                amount: None,
            })
            .collect(),
        reason: "wrong size".to_owned(),
    })
}

/// Asserts an `INVALID_ARGUMENT` that names exactly these fields.
#[track_caller]
pub(crate) fn assert_bad_fields(status: &Status, fields: &[&str]) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert_eq!(tael_grpc::status::bad_fields(status), fields);
}

/// Asserts an error with a documented reason.
#[track_caller]
pub(crate) fn assert_reason(status: &Status, code: Code, reason: &str) {
    assert_eq!(
        (status.code(), tael_grpc::status::reason(status).as_deref()),
        (code, Some(reason)),
        "{status:?}"
    );
}
