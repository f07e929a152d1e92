//! The composition root: the only place that sees every part.

use std::net::SocketAddr;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tael_clock::Clock;
use tael_config::{ConfigErrors, Env};
use tael_eventlog::{Consumer, DeadLetters, EventLog};
use tael_facts::Auditable;
use tael_grpc::client::{Channel, Connector};
use tael_grpc::server::Bound;
use tael_idempotency::Idempotency;
use tael_proto::order::v1::order_service_server::OrderServiceServer;
use tael_proto::order::v1::promotion_service_server::PromotionServiceServer;
use tael_proto::order::v1::unapplied_payment_service_server::UnappliedPaymentServiceServer;
use tael_proto::order::v1::voucher_service_server::VoucherServiceServer;
use tael_runtime::{Schema, Service, StartError, TaskError, Tasks, readiness};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::authorization::RPC_ACCESS;
use crate::clients::PaymentClient;
use crate::config::Config;
use crate::consumers::{PaymentConsumer, RefundConsumer};
use crate::facts::OrderFacts;
use crate::rpc::Rpc;
use crate::usecase::Orders;
use crate::worker;

static MIGRATOR: Migrator = sqlx::migrate!();
const SCHEMA: Schema = Schema { migrator: &MIGRATOR, grants: include_str!("../grants.sql") };

/// The order service, built and bound.
#[derive(Debug)]
pub struct App {
    bound: Bound,
    pool: PgPool,
    idempotency: Idempotency,
    log: EventLog,
    orders: Orders,
    clock: Clock,
    payment: Channel,
    refund: Channel,
    expiry_interval: Duration,
    refund_interval: Duration,
    /// Answers the log's waiting readers when the service ends.
    draining: CancellationToken,
}

impl Service for App {
    const NAME: &'static str = "order";
    const SCHEMAS: &'static [Schema] = &[tael_eventlog::SCHEMA, SCHEMA];
    type Config = Config;

    fn config(env: &mut Env) -> Result<Config, ConfigErrors> {
        Config::read(env)
    }

    async fn build(config: Config, clock: Clock) -> Result<Self, StartError> {
        let keyring = config.keyring.clone();
        let identity = config.base.identity().await?;
        let peers = Connector::new(identity.clone());
        let payment = peers.connect(&config.payment_url)?;
        let refund = peers.connect(&config.refund_url)?;
        let pool = config.base.database::<Self>(&clock).await?;
        let idempotency = config.base.idempotency()?.sealed_by(config.keyring.clone());
        let draining = CancellationToken::new();
        let log =
            EventLog::new(pool.clone(), draining.clone()).with_retention(config.base.event_retention_days);
        let payments = PaymentClient::new(payment.clone());
        let orders = Orders { pool: pool.clone(), log: log.clone(), keyring, payments, clock: clock.clone() };
        let bound = config.base.bind(identity, RPC_ACCESS, &clock).await?;
        Ok(Self {
            bound,
            pool,
            idempotency,
            log,
            orders,
            clock,
            payment,
            refund,
            expiry_interval: config.expiry_interval,
            refund_interval: config.refund_interval,
            draining,
        })
    }

    fn addr(&self) -> SocketAddr {
        self.bound.addr()
    }

    async fn run(self, shutdown: CancellationToken) -> Result<(), TaskError> {
        let Self { pool, idempotency, log, orders, clock, draining, .. } = self;
        let audit = Auditable::new(pool.clone(), OrderFacts { pool: pool.clone() });
        let payments = PaymentConsumer { log: log.clone(), clock: clock.clone() };
        let payments = Consumer::new(Self::NAME, "payment", self.payment, pool.clone(), payments);
        let refunds = Consumer::new(
            Self::NAME,
            "refund",
            self.refund,
            pool.clone(),
            RefundConsumer { log: log.clone(), clock },
        );
        let dead_letters = DeadLetters::new(pool.clone()).with(&payments).with(&refunds);
        let rpc = Rpc::new(orders.clone(), idempotency.clone());
        let routes = Routes::new(OrderServiceServer::new(rpc.clone()))
            .add_service(UnappliedPaymentServiceServer::new(rpc.clone()))
            .add_service(PromotionServiceServer::new(rpc.clone()))
            .add_service(VoucherServiceServer::new(rpc))
            .add_service(log.server())
            .add_service(dead_letters.server())
            .add_service(audit.server());

        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("retention", log.prune(shutdown.clone()));
        tasks.spawn("payment events", payments.run(shutdown.clone()));
        tasks.spawn("refund events", refunds.run(shutdown.clone()));
        tasks.spawn("expiry", worker::expire(orders.clone(), self.expiry_interval, shutdown.clone()));
        tasks.spawn("unapplied refunds", worker::refund(orders, self.refund_interval, shutdown.clone()));
        tasks.spawn_fallible("grpc", {
            let readiness = readiness(&pool, &idempotency);
            self.bound.serve(routes, readiness, async move {
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
