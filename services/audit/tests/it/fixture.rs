//! A running audit service on a database of its own, with scripted services; and the words the tests are told in.

use std::time::Duration;

use sqlx::PgPool;
use tael_audit::{App, Config};
use tael_clock::Clock;
use tael_ids::{AttemptId, ChannelAccountId, MerchantId, PaymentId, RefundId};
use tael_proto::payment::v1::{StatementLine, StatementLineKind};
use tael_proto::r#type::v1::Money;
use tael_runtime::ServiceConfig;
use tael_testkit::{Running, TestDatabase};

use crate::audit_facts::ScriptedFacts;
use crate::peers::{FakeStatements, Serving};

/// Noon of 2026-11-21 in Shanghai.
pub(crate) const NOW: &str = "2026-11-21T04:00:00Z";

pub(crate) struct Fixture {
    /// What the services show.
    pub(crate) books: ScriptedFacts,
    /// What the channels say.
    pub(crate) statements: FakeStatements,
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) running: Running,
    _peers: [Serving; 5],
    _database: TestDatabase,
}

pub(crate) async fn start() -> Fixture {
    let database = TestDatabase::create().await;
    let (books, statements) = (ScriptedFacts::default(), FakeStatements::default());
    let peers = [
        Serving::of_facts(&books, "order").await,
        Serving::of_payment(&books, &statements).await,
        Serving::of_facts(&books, "refund").await,
        Serving::of_facts(&books, "settlement").await,
        Serving::of_facts(&books, "notification").await,
    ];
    let [order_url, payment_url, refund_url, settlement_url, notification_url] =
        [0, 1, 2, 3, 4].map(|peer: usize| peers[peer].url());
    let config = Config {
        base: ServiceConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            database_url: database.url(),
            database_connections: 16,
            migrate_at_start: true,
            redis_url: tael_testkit::no_redis_url(),
            event_retention_days: None,
            health_listen: None,
            tls: None,
            max_in_flight: ServiceConfig::MAX_IN_FLIGHT,
            principal_keys: None,
        },
        order_url,
        payment_url,
        refund_url,
        settlement_url,
        notification_url,
        statement_timeout: Duration::from_millis(500),
    };
    let clock = Clock::manual(NOW.parse().unwrap());
    let running = tael_testkit::run::<App>(config, clock.clone()).await;
    Fixture { books, statements, pool: database.pool(), clock, running, _peers: peers, _database: database }
}

/// An amount in fen.
pub(crate) fn cny(minor: i64) -> Money {
    Money { currency: "CNY".to_owned(), minor }
}

/// A merchant and its account at the channel.
#[derive(Clone, Debug)]
pub(crate) struct Shop {
    pub(crate) merchant_id: String,
    pub(crate) channel_account_id: String,
}

impl Shop {
    pub(crate) fn open() -> Self {
        Self {
            merchant_id: MerchantId::new().to_string(),
            channel_account_id: ChannelAccountId::new().to_string(),
        }
    }
}

/// A payment that happened, in yuan.
#[derive(Clone, Debug)]
pub(crate) struct Paid {
    pub(crate) payment_id: PaymentId,
    pub(crate) attempt_id: AttemptId,
    pub(crate) minor: i64,
}

impl Paid {
    pub(crate) fn new(minor: i64) -> Self {
        Self { payment_id: PaymentId::new(), attempt_id: AttemptId::new(), minor }
    }

    /// The line of the channel's statement that agrees with it.
    pub(crate) fn statement_line(&self) -> StatementLine {
        StatementLine {
            line: 1,
            kind: StatementLineKind::Payment.into(),
            channel_transaction_id: "2026112022001".to_owned(),
            merchant_number: self.attempt_id.channel_number(),
            amount: Some(cny(self.minor)),
            fee: Some(cny(0)),
            ..StatementLine::default()
        }
    }
}

/// The line of the channel's statement that agrees with a refund.
pub(crate) fn refund_line(of: &Paid, refund_id: RefundId, minor: i64) -> StatementLine {
    StatementLine {
        kind: StatementLineKind::Refund.into(),
        refund_number: refund_id.channel_number(),
        amount: Some(cny(minor)),
        ..of.statement_line()
    }
}
