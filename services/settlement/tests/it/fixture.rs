//! A running settlement service on a database of its own, with scripted peers; and the words the tests are told in.

use secrecy::SecretString;
use sqlx::PgPool;
use tael_clock::Clock;
use tael_grpc::client::Channel as Transport;
use tael_ids::{AttemptId, ChannelAccountId, EventId, MerchantId, OrderId, PaymentId, RefundId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{
    Event, OrderPaymentHeld, OrderPaymentReleased, Payload, PaymentRefunded, PaymentSucceeded,
};
use tael_proto::payment::v1::{StatementLine, StatementLineKind};
use tael_proto::settlement::v1::fee_schedule_service_client::FeeScheduleServiceClient;
use tael_proto::settlement::v1::ledger_service_client::LedgerServiceClient;
use tael_proto::settlement::v1::reconciliation_service_client::ReconciliationServiceClient;
use tael_proto::settlement::v1::settlement_batch_service_client::SettlementBatchServiceClient;
use tael_proto::settlement::v1::{
    AccountKind, Batch, CheckLedgerRequest, CheckLedgerResponse, CloseBatchRequest, FeeSchedule, FeeTerms,
    ListAccountsRequest, ListTransfersRequest, SetFeeScheduleRequest, Transfer,
};
use tael_proto::r#type::v1::{Channel, Method, Money};
use tael_runtime::ServiceConfig;
use tael_settlement::{App, Config};
use tael_testkit::{Running, ScriptedLog, TestDatabase, keyed};
use tonic::Status;

use crate::peers::{FakeMerchants, FakePayment, Serving};

/// Noon of 2026-11-21 in Shanghai.
pub(crate) const NOW: &str = "2026-11-21T04:00:00Z";

pub(crate) struct Fixture {
    pub(crate) ledger: LedgerServiceClient<Transport>,
    pub(crate) fee_schedules: FeeScheduleServiceClient<Transport>,
    pub(crate) batches: SettlementBatchServiceClient<Transport>,
    pub(crate) reconciliations: ReconciliationServiceClient<Transport>,
    pub(crate) payment: FakePayment,
    /// The order service's log.
    pub(crate) orders: ScriptedLog,
    pub(crate) merchants: FakeMerchants,
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) config: Config,
    pub(crate) running: Running,
    _peers: [Serving; 3],
    _database: TestDatabase,
}

pub(crate) async fn start() -> Fixture {
    start_with_redis(tael_testkit::redis_url()).await
}

pub(crate) async fn start_with_redis(redis_url: SecretString) -> Fixture {
    let database = TestDatabase::of::<App>().await;
    let (payment, merchants) = (FakePayment::default(), FakeMerchants::default());
    let orders = ScriptedLog::default();
    let peers = [payment.serve().await, merchants.serve().await, Serving::of_orders(&orders).await];
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
        payment_url: peers[0].url(),
        merchant_url: peers[1].url(),
        order_url: peers[2].url(),
    };
    let clock = Clock::manual(NOW.parse().unwrap());
    let running = tael_testkit::run::<App>(config.clone(), clock.clone()).await;
    Fixture {
        ledger: LedgerServiceClient::new(running.channel()),
        fee_schedules: FeeScheduleServiceClient::new(running.channel()),
        batches: SettlementBatchServiceClient::new(running.channel()),
        reconciliations: ReconciliationServiceClient::new(running.channel()),
        payment,
        orders,
        merchants,
        pool: database.pool(),
        clock,
        config,
        running,
        _peers: peers,
        _database: database,
    }
}

impl Fixture {
    /// A merchant in this time zone with an account at Alipay.
    pub(crate) fn shop_in(&self, time_zone: &str) -> Shop {
        let shop = Shop {
            merchant_id: MerchantId::new().to_string(),
            channel_account_id: ChannelAccountId::new().to_string(),
        };
        self.merchants.add(&shop.merchant_id, time_zone);
        self.payment.add_account(&shop.merchant_id, &shop.channel_account_id, &seller());
        shop
    }

    pub(crate) fn shop(&self) -> Shop {
        self.shop_in("Asia/Shanghai")
    }

    /// A merchant that pays `rate`, at a channel that keeps `channel_rate`.
    pub(crate) async fn shop_with_rates(&self, rate: &str, channel_rate: &str) -> Shop {
        let shop = self.shop();
        self.set_rates(&shop, rate, channel_rate).await;
        shop
    }

    pub(crate) async fn set_rates(&self, shop: &Shop, rate: &str, channel_rate: &str) {
        let request = SetFeeScheduleRequest {
            merchant_id: shop.merchant_id.clone(),
            fee_schedule: Some(schedule(rate, channel_rate)),
        };
        self.fee_schedules.clone().set_fee_schedule(keyed(request)).await.unwrap();
    }

    /// Lets events happen and waits until the service has been through them.
    pub(crate) async fn happen(&self, events: impl IntoIterator<Item = Event>) {
        self.payment.append(events);
        self.consumed().await;
    }

    /// The same in the order service's log.
    pub(crate) async fn orders_tell(&self, events: impl IntoIterator<Item = Event>) {
        self.orders.append_all(events);
        self.orders.consumed().await;
    }

    /// What is in suspense in yuan.
    pub(crate) async fn suspense(&self, shop: &Shop) -> i64 {
        -self.balance(shop, AccountKind::Suspense, "CNY").await
    }

    /// Waits until the service has been through the payments' log.
    pub(crate) async fn consumed(&self) {
        self.payment.consumed().await;
    }

    /// Debits minus credits of an account; zero when there is none.
    pub(crate) async fn balance(&self, shop: &Shop, kind: AccountKind, currency: &str) -> i64 {
        let request = ListAccountsRequest { merchant_id: shop.merchant_id.clone() };
        let accounts = self.ledger.clone().list_accounts(request).await.unwrap().into_inner().accounts;
        let sums = accounts.into_iter().map(|a| (a.kind(), a.debits.unwrap(), a.credits.unwrap()));
        sums.filter(|(k, debits, _)| *k == kind && debits.currency == currency)
            .map(|(_, debits, credits)| debits.minor - credits.minor)
            .sum()
    }

    /// The balances in yuan of a merchant: receivable, payable, payout, fee income, channel cost.
    pub(crate) async fn balances(&self, shop: &Shop) -> [i64; 5] {
        [
            self.balance(shop, AccountKind::ChannelReceivable, "CNY").await,
            self.balance(shop, AccountKind::MerchantPayable, "CNY").await,
            self.balance(shop, AccountKind::PayoutPayable, "CNY").await,
            self.balance(shop, AccountKind::FeeIncome, "CNY").await,
            self.balance(shop, AccountKind::ChannelCost, "CNY").await,
        ]
    }

    pub(crate) async fn transfers(&self, shop: &Shop) -> Vec<Transfer> {
        let request = ListTransfersRequest {
            merchant_id: shop.merchant_id.clone(),
            page_size: 100,
            ..ListTransfersRequest::default()
        };
        self.ledger.clone().list_transfers(request).await.unwrap().into_inner().transfers
    }

    /// The ledger's sums, after making sure that they are right.
    pub(crate) async fn checked(&self) -> CheckLedgerResponse {
        let check = self.ledger.clone().check_ledger(CheckLedgerRequest {}).await.unwrap().into_inner();
        assert_eq!(check.unbalanced_transfer_ids, Vec::<String>::new());
        assert_eq!(check.wrong_account_ids, Vec::<String>::new());
        for sum in &check.sums {
            assert_eq!(sum.debits, sum.credits);
        }
        check
    }

    /// The errors of the events that were set aside, in the order of the log.
    pub(crate) async fn dead_letters(&self) -> Vec<String> {
        sqlx::query_scalar("select error from event_set_aside order by set_aside_time")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn close(&self, shop: &Shop, cut_off: Option<&str>) -> Result<Batch, Status> {
        let answer = self.batches.clone().close_batch(keyed(closing(shop, cut_off))).await?;
        Ok(answer.into_inner().batch.unwrap())
    }
}

/// A merchant and its account at the channel.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    pub(crate) merchant_id: String,
    pub(crate) channel_account_id: String,
}

/// A payment that happened.
#[derive(Clone, Debug)]
pub(crate) struct Paid {
    shop: Shop,
    pub(crate) payment_id: PaymentId,
    pub(crate) attempt_id: AttemptId,
    amount: Money,
    /// What the channel pays out of it, where it says so.
    received: Option<i64>,
    time: jiff::Timestamp,
    /// Given back at once, in closing.
    reversed: bool,
}

/// A refund that happened.
#[derive(Clone, Debug)]
pub(crate) struct Refunded {
    of: Paid,
    pub(crate) refund_id: RefundId,
    amount: i64,
    total: i64,
    time: jiff::Timestamp,
    /// Nobody asked for it: the channel gave back all of the payment in closing it.
    reversal: bool,
    /// The channel's number for it, when it was made at the channel's console.
    made_at_channel: Option<String>,
    /// What the channel takes back, where it says so.
    received: Option<i64>,
}

impl Shop {
    /// A payment in yuan, taken at noon of the day before.
    pub(crate) fn paid(&self, minor: i64) -> Paid {
        self.paid_at(cny(minor), "2026-11-20T04:00:00Z")
    }

    pub(crate) fn paid_at(&self, amount: Money, time: &str) -> Paid {
        Paid {
            shop: self.clone(),
            payment_id: PaymentId::new(),
            attempt_id: AttemptId::new(),
            amount,
            received: None,
            time: time.parse().unwrap(),
            reversed: false,
        }
    }
}

impl Paid {
    /// The same with a coupon of the merchant's own, so that only this much is received.
    pub(crate) fn of_which_received(self, minor: i64) -> Self {
        Self { received: Some(minor), ..self }
    }

    /// The channel's number of the transaction.
    fn transaction_id(&self) -> String {
        format!("2026{}", self.attempt_id.channel_number())
    }

    /// The event that tells of it: a new one each time.
    pub(crate) fn event(&self) -> Event {
        let fact = PaymentSucceeded {
            payment_id: self.payment_id.to_string(),
            attempt_id: self.attempt_id.to_string(),
            amount: Some(self.amount.clone()),
            channel: Channel::Alipay.into(),
            channel_account_id: self.shop.channel_account_id.clone(),
            method: Method::QrCode.into(),
            pay_time: Some(tael_grpc::convert::timestamp(self.time)),
            reversed: self.reversed,
            received: self.received.map(|minor| Money { minor, ..self.amount.clone() }),
            channel_transaction_id: self.transaction_id(),
            ..PaymentSucceeded::default()
        };
        event(&self.shop, Kind::PaymentSucceeded(fact))
    }

    /// The event that its order could not take the money, a second after it came: a new event each time.
    pub(crate) fn held(&self) -> Event {
        let fact = OrderPaymentHeld {
            order_id: OrderId::new().to_string(),
            payment_id: self.payment_id.to_string(),
            amount: Some(self.amount.clone()),
        };
        let time = self.time + jiff::SignedDuration::from_secs(1);
        event_at(&self.shop, Kind::OrderPaymentHeld(fact), time)
    }

    /// The event that this was decided, an hour after the money came.
    pub(crate) fn released(&self, accepted: bool) -> Event {
        let fact = OrderPaymentReleased {
            order_id: OrderId::new().to_string(),
            payment_id: self.payment_id.to_string(),
            amount: Some(self.amount.clone()),
            accepted,
        };
        let time = self.time + jiff::SignedDuration::from_hours(1);
        event_at(&self.shop, Kind::OrderPaymentReleased(fact), time)
    }

    /// A refund of `minor` that makes the sum refunded `total`, a minute after the payment.
    pub(crate) fn refunded(&self, minor: i64, total: i64) -> Refunded {
        let time = self.time + jiff::SignedDuration::from_mins(1);
        Refunded {
            of: self.clone(),
            refund_id: RefundId::new(),
            amount: minor,
            total,
            time,
            reversal: false,
            made_at_channel: None,
            received: None,
        }
    }

    /// The payment and its reversal, when the channel gives everything back in closing.
    pub(crate) fn reversed(self) -> (Self, Refunded) {
        let paid = Self { reversed: true, ..self };
        let all = paid.amount.minor;
        let reversal = Refunded { reversal: true, ..paid.refunded(all, all) };
        (paid, reversal)
    }

    /// The line of the channel's bill that agrees with it, but for the fee.
    pub(crate) fn bill_line(&self, fee: i64) -> StatementLine {
        StatementLine {
            line: 1,
            kind: StatementLineKind::Payment.into(),
            channel_transaction_id: self.transaction_id(),
            merchant_number: self.attempt_id.channel_number(),
            refund_number: String::new(),
            amount: Some(self.amount.clone()),
            received: self.received.map(|minor| Money { minor, ..self.amount.clone() }),
            fee: Some(Money { minor: fee, ..self.amount.clone() }),
            finish_time: Some(tael_grpc::convert::timestamp(self.time)),
            ..StatementLine::default()
        }
    }
}

impl Refunded {
    /// The same, made at the channel's own console under this number.
    pub(crate) fn made_at_channel(self, number: &str) -> Self {
        Self { made_at_channel: Some(number.to_owned()), ..self }
    }

    /// The same, of which the channel takes back this much.
    pub(crate) fn of_which_taken_back(self, minor: i64) -> Self {
        Self { received: Some(minor), ..self }
    }

    pub(crate) fn event(&self) -> Event {
        let money = |minor| Some(Money { minor, ..self.of.amount.clone() });
        let fact = PaymentRefunded {
            payment_id: self.of.payment_id.to_string(),
            refund_id: self.refund_id.to_string(),
            attempt_id: self.of.attempt_id.to_string(),
            amount: money(self.amount),
            refunded_total: money(self.total),
            payment_amount: Some(self.of.amount.clone()),
            channel: Channel::Alipay.into(),
            channel_account_id: self.of.shop.channel_account_id.clone(),
            refund_time: Some(tael_grpc::convert::timestamp(self.time)),
            reversal: self.reversal,
            made_at_channel: self.made_at_channel.is_some(),
            refund_number: self.made_at_channel.clone().unwrap_or_default(),
            channel_transaction_id: self.of.transaction_id(),
            received: self.received.and_then(money),
            ..PaymentRefunded::default()
        };
        event(&self.of.shop, Kind::PaymentRefunded(fact))
    }

    /// The line of the channel's bill that agrees with it, but for the fee given back.
    pub(crate) fn bill_line(&self, fee: i64) -> StatementLine {
        let attempt_number = self.of.attempt_id.channel_number();
        StatementLine {
            kind: StatementLineKind::Refund.into(),
            refund_number: match &self.made_at_channel {
                Some(number) => number.clone(),
                None if self.reversal => attempt_number,
                None => self.refund_id.channel_number(),
            },
            amount: Some(Money { minor: self.amount, ..self.of.amount.clone() }),
            received: self.received.map(|minor| Money { minor, ..self.of.amount.clone() }),
            finish_time: Some(tael_grpc::convert::timestamp(self.time)),
            ..self.of.bill_line(fee)
        }
    }
}

pub(crate) fn event(shop: &Shop, kind: Kind) -> Event {
    Event {
        event_id: EventId::new().to_string(),
        merchant_id: shop.merchant_id.clone(),
        payload: Some(Payload { kind: Some(kind) }),
        ..Event::default()
    }
}

pub(crate) fn event_at(shop: &Shop, kind: Kind, time: jiff::Timestamp) -> Event {
    Event { occur_time: Some(tael_grpc::convert::timestamp(time)), ..event(shop, kind) }
}

pub(crate) fn cny(minor: i64) -> Money {
    money(minor, "CNY")
}

pub(crate) fn money(minor: i64, currency: &str) -> Money {
    Money { currency: currency.to_owned(), minor }
}

/// A schedule of rates alone.
pub(crate) fn schedule(rate: &str, channel_rate: &str) -> FeeSchedule {
    let terms = |rate: &str| Some(FeeTerms { rate: rate.to_owned(), ..FeeTerms::default() });
    FeeSchedule { channel: Channel::Alipay.into(), fee: terms(rate), channel_fee: terms(channel_rate) }
}

/// A seller that nobody else is.
pub(crate) fn seller() -> String {
    format!("2088{}", ChannelAccountId::new())
}

pub(crate) fn closing(shop: &Shop, cut_off: Option<&str>) -> CloseBatchRequest {
    CloseBatchRequest {
        merchant_id: shop.merchant_id.clone(),
        currency: "CNY".to_owned(),
        cut_off_time: cut_off.map(|time| tael_grpc::convert::timestamp(time.parse().unwrap())),
    }
}
