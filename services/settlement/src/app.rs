//! The composition root: the only place that sees every part.

use std::net::SocketAddr;
use std::sync::Arc;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tael_clock::Clock;
use tael_config::{ConfigErrors, Env};
use tael_eventlog::{Consumer, DeadLetters, EventLog};
use tael_facts::Auditable;
use tael_grpc::client::Connector;
use tael_grpc::server::Bound;
use tael_idempotency::Idempotency;
use tael_proto::settlement::v1::fee_schedule_service_server::FeeScheduleServiceServer;
use tael_proto::settlement::v1::ledger_service_server::LedgerServiceServer;
use tael_proto::settlement::v1::reconciliation_service_server::ReconciliationServiceServer;
use tael_proto::settlement::v1::settlement_batch_service_server::SettlementBatchServiceServer;
use tael_runtime::{Schema, Service, StartError, TaskError, Tasks, readiness};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::authorization::RPC_ACCESS;
use crate::clients::Clients;
use crate::config::Config;
use crate::consumers::{OrderLog, PaymentLog};
use crate::facts::LedgerFacts;
use crate::rpc::{FeeScheduleRpc, LedgerRpc, ReconciliationRpc, SettlementBatchRpc};
use crate::store::ledger::rules::StoredRules;
use crate::usecase::{Settlement, metrics};

static MIGRATOR: Migrator = sqlx::migrate!();
const SCHEMA: Schema = Schema { migrator: &MIGRATOR, grants: include_str!("../grants.sql") };

/// The name under which the position in the payment service's log is kept.
const PAYMENT_LOG: &str = "payment";
/// Likewise in the order service's log.
const ORDER_LOG: &str = "order";

/// The settlement service, built and bound.
#[derive(Debug)]
pub struct App {
    bound: Bound,
    pool: PgPool,
    idempotency: Idempotency,
    log: EventLog,
    settlement: Settlement,
    clock: Clock,
    facts: Auditable<LedgerFacts>,
    payments: Consumer<PaymentLog>,
    orders: Consumer<OrderLog>,
    /// That a comparison ended.
    news: Arc<Notify>,
    /// Answers the log's waiting readers when the service ends.
    draining: CancellationToken,
}

impl Service for App {
    const NAME: &'static str = "settlement";
    const SCHEMAS: &'static [Schema] = &[tael_eventlog::SCHEMA, SCHEMA];
    type Config = Config;

    fn config(env: &mut Env) -> Result<Config, ConfigErrors> {
        Config::read(env)
    }

    async fn build(config: Config, clock: Clock) -> Result<Self, StartError> {
        let pool = config.base.database::<Self>(&clock).await?;
        let idempotency = config.base.idempotency()?;
        let rules = StoredRules::default();
        let draining = CancellationToken::new();
        let log =
            EventLog::new(pool.clone(), draining.clone()).with_retention(config.base.event_retention_days);
        let identity = config.base.identity().await?;
        let connector = Connector::new(identity.clone());
        let payment = connector.connect(&config.payment_url)?;
        let merchant = connector.connect(&config.merchant_url)?;
        let order = connector.connect(&config.order_url)?;
        let payments = Consumer::new(
            Self::NAME,
            PAYMENT_LOG,
            payment.clone(),
            pool.clone(),
            PaymentLog::new(clock.clone(), rules.clone()),
        );
        let orders = Consumer::new(
            Self::NAME,
            ORDER_LOG,
            order.clone(),
            pool.clone(),
            OrderLog::new(clock.clone(), rules.clone()),
        );
        let facts = Auditable::new(pool.clone(), LedgerFacts { pool: pool.clone() });
        let clients = Clients::new(merchant, payment);
        let news = Arc::new(Notify::new());
        let settlement =
            Settlement::new(pool.clone(), log.clone(), clock.clone(), clients, rules, Arc::clone(&news));
        let bound = config.base.bind(identity, RPC_ACCESS, &clock).await?;
        Ok(Self { bound, pool, idempotency, log, settlement, clock, facts, payments, orders, news, draining })
    }

    fn addr(&self) -> SocketAddr {
        self.bound.addr()
    }

    async fn run(self, shutdown: CancellationToken) -> Result<(), TaskError> {
        let Self {
            bound,
            pool,
            idempotency,
            log,
            settlement,
            clock,
            facts,
            payments,
            orders,
            news,
            draining,
        } = self;
        let fee_schedules =
            FeeScheduleRpc { settlement: settlement.clone(), idempotency: idempotency.clone() };
        let batches = SettlementBatchRpc { settlement: settlement.clone(), idempotency: idempotency.clone() };
        let reconciliations =
            ReconciliationRpc { settlement: settlement.clone(), idempotency: idempotency.clone() };
        let routes = Routes::new(LedgerServiceServer::new(LedgerRpc { settlement }))
            .add_service(FeeScheduleServiceServer::new(fee_schedules))
            .add_service(SettlementBatchServiceServer::new(batches))
            .add_service(ReconciliationServiceServer::new(reconciliations))
            .add_service(facts.server())
            .add_service(log.server())
            .add_service(DeadLetters::new(pool.clone()).with(&payments).with(&orders).server());

        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("retention", log.prune(shutdown.clone()));
        if tael_telemetry::is_exporting() {
            tasks.spawn("metrics", metrics::run(pool.clone(), clock, news, shutdown.clone()));
        }
        tasks.spawn("payment log", payments.run(shutdown.clone()));
        tasks.spawn("order log", orders.run(shutdown.clone()));
        tasks.spawn_fallible("grpc", {
            let readiness = readiness(&pool, &idempotency);
            bound.serve(routes, readiness, async move {
                shutdown.cancelled().await;
                draining.cancel();
            })
        });
        let result = tasks.join().await;
        idempotency.drain().await;
        pool.close().await;
        result
    }
}
