//! The composition root: the only place that sees every part.

use std::net::SocketAddr;
use std::sync::Arc;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tael_clock::Clock;
use tael_config::{ConfigErrors, Env};
use tael_grpc::client::Connector;
use tael_grpc::server::{Bound, Check, Readiness};
use tael_proto::audit::v1::money_audit_service_server::MoneyAuditServiceServer;
use tael_runtime::{Schema, Service, StartError, TaskError, Tasks};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::authorization::RPC_ACCESS;
use crate::clients::{FactClient, Owner, StatementClient};
use crate::config::Config;
use crate::rpc::MoneyAuditRpc;
use crate::usecase::metrics;
use crate::usecase::money_audit::MoneyAudit;

static MIGRATOR: Migrator = sqlx::migrate!();
const SCHEMA: Schema = Schema { migrator: &MIGRATOR, grants: include_str!("../grants.sql") };

/// The audit service, built and bound.
#[derive(Debug)]
pub struct App {
    bound: Bound,
    pool: PgPool,
    clock: Clock,
    audit: MoneyAudit,
    /// That an audit of everything ended.
    ended: Arc<Notify>,
}

impl Service for App {
    const NAME: &'static str = "audit";
    const SCHEMAS: &'static [Schema] = &[SCHEMA];
    type Config = Config;

    fn config(env: &mut Env) -> Result<Config, ConfigErrors> {
        Config::read(env)
    }

    async fn build(config: Config, clock: Clock) -> Result<Self, StartError> {
        let pool = config.base.database::<Self>(&clock).await?;
        let identity = config.base.identity().await?;
        let connector = Connector::new(identity.clone());
        let payment = connector.connect(&config.payment_url)?;
        let facts = FactClient::new([
            (Owner::Order, connector.connect(&config.order_url)?),
            (Owner::Payment, payment.clone()),
            (Owner::Refund, connector.connect(&config.refund_url)?),
            (Owner::Notification, connector.connect(&config.notification_url)?),
            (Owner::Settlement, connector.connect(&config.settlement_url)?),
        ]);
        let ended = Arc::new(Notify::new());
        let audit = MoneyAudit {
            pool: pool.clone(),
            clock: clock.clone(),
            facts,
            statements: StatementClient::new(payment, config.statement_timeout),
            ended: Arc::clone(&ended),
        };
        let bound = config.base.bind(identity, RPC_ACCESS, &clock).await?;
        Ok(Self { bound, pool, clock, audit, ended })
    }

    fn addr(&self) -> SocketAddr {
        self.bound.addr()
    }

    async fn run(self, shutdown: CancellationToken) -> Result<(), TaskError> {
        let Self { bound, pool, clock, audit, ended } = self;
        let draining = CancellationToken::new();
        let rpc = MoneyAuditRpc { audit, clock, draining: draining.clone() };
        let routes = Routes::new(MoneyAuditServiceServer::new(rpc));
        let mut tasks = Tasks::new(shutdown.clone());
        if tael_telemetry::is_exporting() {
            tasks.spawn("metrics", metrics::run(pool.clone(), ended, shutdown.clone()));
        }
        tasks.spawn_fallible("grpc", {
            bound.serve(routes, readiness(&pool), async move {
                shutdown.cancelled().await;
                draining.cancel();
            })
        });
        let result = tasks.join().await;
        pool.close().await;
        result
    }
}

/// Without its database no audit can be made.
fn readiness(pool: &PgPool) -> Readiness {
    let pool = pool.clone();
    Readiness::new(vec![Check::required("postgres", move || {
        let pool = pool.clone();
        async move { tael_postgres::ping(&pool).await }
    })])
}
