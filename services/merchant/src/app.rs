//! The composition root: the only place that sees every part.

use std::net::SocketAddr;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tael_clock::Clock;
use tael_config::{ConfigErrors, Env};
use tael_eventlog::EventLog;
use tael_grpc::server::Bound;
use tael_idempotency::Idempotency;
use tael_principal::Issuer;
use tael_proto::merchant::v1::api_key_service_server::ApiKeyServiceServer;
use tael_proto::merchant::v1::merchant_service_server::MerchantServiceServer;
use tael_runtime::{Schema, Service, StartError, TaskError, Tasks, readiness};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::authorization::RPC_ACCESS;
use crate::config::Config;
use crate::rpc::{ApiKeyRpc, MerchantRpc};
use crate::usecase::{ApiKeys, Merchants};

static MIGRATOR: Migrator = sqlx::migrate!();
const SCHEMA: Schema = Schema { migrator: &MIGRATOR, grants: include_str!("../grants.sql") };

/// The merchant service, built and bound.
#[derive(Debug)]
pub struct App {
    bound: Bound,
    pool: PgPool,
    idempotency: Idempotency,
    log: EventLog,
    clock: Clock,
    issuer: Issuer,
    /// Answers the log's waiting readers when the service ends.
    draining: CancellationToken,
}

impl Service for App {
    const NAME: &'static str = "merchant";
    const SCHEMAS: &'static [Schema] = &[tael_eventlog::SCHEMA, SCHEMA];
    type Config = Config;

    fn config(env: &mut Env) -> Result<Config, ConfigErrors> {
        Config::read(env)
    }

    async fn build(config: Config, clock: Clock) -> Result<Self, StartError> {
        let pool = config.base.database::<Self>(&clock).await?;
        let idempotency = config.base.idempotency()?;
        let draining = CancellationToken::new();
        let log =
            EventLog::new(pool.clone(), draining.clone()).with_retention(config.base.event_retention_days);
        let identity = config.base.identity().await?;
        let bound = config.base.bind(identity, RPC_ACCESS, &clock).await?;
        let issuer = Issuer::new(config.signing_key, config.token_lifetime, clock.clone());
        Ok(Self { bound, pool, idempotency, log, clock, issuer, draining })
    }

    fn addr(&self) -> SocketAddr {
        self.bound.addr()
    }

    async fn run(self, shutdown: CancellationToken) -> Result<(), TaskError> {
        let Self { bound, pool, idempotency, log, clock, issuer, draining } = self;
        let keys = ApiKeys { pool: pool.clone(), clock: clock.clone(), issuer };
        let merchants = Merchants { pool: pool.clone(), log: log.clone(), clock };
        let merchant_rpc = MerchantRpc { merchants, idempotency: idempotency.clone() };
        let key_rpc = ApiKeyRpc { keys, idempotency: idempotency.clone() };
        let routes = Routes::new(MerchantServiceServer::new(merchant_rpc))
            .add_service(ApiKeyServiceServer::new(key_rpc))
            .add_service(log.server());

        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("retention", log.prune(shutdown.clone()));
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
