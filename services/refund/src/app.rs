//! The composition root.

use std::net::SocketAddr;

use sqlx::PgPool;
use tael_clock::Clock;
use tael_config::{ConfigErrors, Env};
use tael_eventlog::{Consumer, DeadLetters, EventLog};
use tael_facts::Auditable;
use tael_grpc::client::{Channel, Connector};
use tael_grpc::server::Bound;
use tael_idempotency::Idempotency;
use tael_proto::refund::v1::refund_policy_service_server::RefundPolicyServiceServer;
use tael_proto::refund::v1::refund_service_server::RefundServiceServer;
use tael_runtime::{Schema, Service, StartError, TaskError, Tasks, readiness};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::Config;
use crate::authorization::RPC_ACCESS;
use crate::clients::{OrderClient, PaymentClient};
use crate::consumers::PaymentConsumer;
use crate::domain::Backoff;
use crate::facts::RefundFacts;
use crate::rpc::{RefundPolicyRpc, RefundRpc};
use crate::usecase::{RefundPolicies, Refunds};
use crate::worker::Worker;

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();
const SCHEMA: Schema = Schema { migrator: &MIGRATOR, grants: include_str!("../grants.sql") };

/// The refund service, built and bound.
#[derive(Debug)]
pub struct App {
    config: Config,
    clock: Clock,
    pool: PgPool,
    idempotency: Idempotency,
    order: Channel,
    payment: Channel,
    bound: Bound,
}

impl Service for App {
    const NAME: &'static str = "refund";
    const SCHEMAS: &'static [Schema] = &[tael_eventlog::SCHEMA, SCHEMA];

    type Config = Config;

    fn config(env: &mut Env) -> Result<Config, ConfigErrors> {
        Config::read(env)
    }

    async fn build(config: Config, clock: Clock) -> Result<Self, StartError> {
        let pool = config.base.database::<Self>(&clock).await?;
        let idempotency = config.base.idempotency()?;
        let identity = config.base.identity().await?;
        let peers = Connector::new(identity.clone());
        let order = peers.connect(&config.order_url)?;
        let payment = peers.connect(&config.payment_url)?;
        let bound = config.base.bind(identity, RPC_ACCESS, &clock).await?;
        Ok(Self { config, clock, pool, idempotency, order, payment, bound })
    }

    fn addr(&self) -> SocketAddr {
        self.bound.addr()
    }

    async fn run(self, shutdown: CancellationToken) -> Result<(), TaskError> {
        let log = EventLog::new(self.pool.clone(), shutdown.clone())
            .with_retention(self.config.base.event_retention_days);
        let refunds = Refunds {
            pool: self.pool.clone(),
            log: log.clone(),
            orders: OrderClient::new(self.order.clone()),
            payments: PaymentClient::new(self.payment.clone()),
            clock: self.clock.clone(),
            backoff: Backoff { first: self.config.retry_first },
        };
        let policies = RefundPolicies { pool: self.pool.clone(), clock: self.clock.clone() };
        let refund_rpc = RefundRpc { refunds: refunds.clone(), idempotency: self.idempotency.clone() };
        let policy_rpc = RefundPolicyRpc { policies, idempotency: self.idempotency.clone() };
        let audit = Auditable::new(self.pool.clone(), RefundFacts { pool: self.pool.clone() });
        let consumer = Consumer::new(
            Self::NAME,
            "payment",
            self.payment.clone(),
            self.pool.clone(),
            PaymentConsumer { refunds: refunds.clone() },
        );
        let dead_letters = DeadLetters::new(self.pool.clone()).with(&consumer);
        let routes = Routes::new(RefundServiceServer::new(refund_rpc))
            .add_service(RefundPolicyServiceServer::new(policy_rpc))
            .add_service(log.server())
            .add_service(dead_letters.server())
            .add_service(audit.server());
        let worker = Worker { refunds, poll: self.config.retry_poll };
        let Self { bound, pool, idempotency, .. } = self;

        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("retention", log.prune(shutdown.clone()));
        tasks.spawn_fallible("grpc", {
            let readiness = readiness(&pool, &idempotency);
            bound.serve(routes, readiness, shutdown.clone().cancelled_owned())
        });
        tasks.spawn("payment log", consumer.run(shutdown.clone()));
        tasks.spawn("worker", worker.run(shutdown));
        let result = tasks.join().await;
        // Calls whose callers went away may still be at work.
        idempotency.drain().await;
        pool.close().await;
        result
    }
}
