//! The composition root: the only place that sees every part.

use std::net::SocketAddr;

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use tael_clock::Clock;
use tael_config::{ConfigErrors, Env};
use tael_eventlog::EventLog;
use tael_facts::Auditable;
use tael_grpc::client::Connector;
use tael_grpc::server::Bound;
use tael_idempotency::Idempotency;
use tael_runtime::{Schema, Service, StartError, TaskError, Tasks, readiness};
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::authorization::RPC_ACCESS;
use crate::channel::CHANNELS;
use crate::clients::Clients;
use crate::config::Config;
use crate::domain::backoff::Backoff;
use crate::facts::PaymentFacts;
use crate::rpc::Rpc;
use crate::store;
use crate::usecase::{Payments, Settings};
use crate::worker::{Poller, doubt};

static MIGRATOR: Migrator = sqlx::migrate!();
const SCHEMA: Schema = Schema { migrator: &MIGRATOR, grants: include_str!("../grants.sql") };

/// The payment service, built and bound.
#[derive(Debug)]
pub struct App {
    bound: Bound,
    pool: PgPool,
    idempotency: Idempotency,
    log: EventLog,
    payments: Payments,
    /// Answers the log's waiting readers when the service ends.
    draining: CancellationToken,
}

impl Service for App {
    const NAME: &'static str = "payment";
    const SCHEMAS: &'static [Schema] = &[tael_eventlog::SCHEMA, SCHEMA];
    type Config = Config;

    fn config(env: &mut Env) -> Result<Config, ConfigErrors> {
        Config::read(env)
    }

    async fn build(config: Config, clock: Clock) -> Result<Self, StartError> {
        let keyring = config.keyring.clone();
        let pool = config.base.database::<Self>(&clock).await?;
        let idempotency = config.base.idempotency()?.sealed_by(config.keyring.clone());
        let draining = CancellationToken::new();
        let log =
            EventLog::new(pool.clone(), draining.clone()).with_retention(config.base.event_retention_days);
        // A channel is called directly or not at all, and a redirect is no answer of its protocol.
        let settings = reqwest::Client::builder().timeout(config.channel_timeout);
        let http = tael_egress::Client::new(config.egress.clone(), settings)?;
        let channels: Vec<String> = CHANNELS.iter().map(|channel| channel.name.to_owned()).collect();
        store::channel_account::register_channels(&pool, &channels).await?;
        let accounts = Accounts::new(pool.clone(), keyring, http, clock.clone(), config.channel_timeout);
        let identity = config.base.identity().await?;
        let peers = Connector::new(identity.clone());
        let clients = Clients::new(peers.connect(&config.order_url)?, peers.connect(&config.merchant_url)?);
        let settings = Settings {
            public_url: config.public_url.as_str().trim_end_matches('/').to_owned(),
            channel_timeout: config.channel_timeout,
            egress: config.egress,
            poll: Backoff { first: config.poll_first, last: config.poll_last.max(config.poll_first) },
        };
        let payments = Payments::new(pool.clone(), log.clone(), clock.clone(), accounts, clients, settings);
        let bound = config.base.bind(identity, RPC_ACCESS, &clock).await?;
        Ok(Self { bound, pool, idempotency, log, payments, draining })
    }

    fn addr(&self) -> SocketAddr {
        self.bound.addr()
    }

    async fn run(self, shutdown: CancellationToken) -> Result<(), TaskError> {
        let Self { bound, pool, idempotency, log, payments, draining } = self;
        let rpc = Rpc::new(payments.clone(), idempotency.clone());
        let audit = Auditable::new(pool.clone(), PaymentFacts { pool: pool.clone() });
        let routes = rpc.routes().add_service(log.server()).add_service(audit.server());

        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("retention", log.prune(shutdown.clone()));
        tasks.spawn("poller", Poller::new(payments.clone()).run(shutdown.clone()));
        if tael_telemetry::is_exporting() {
            tasks.spawn("doubt", doubt::run(payments.clone(), shutdown.clone()));
        }
        tasks.spawn_fallible("grpc", {
            let readiness = readiness(&pool, &idempotency);
            bound.serve(routes, readiness, async move {
                shutdown.cancelled().await;
                draining.cancel();
            })
        });
        let result = tasks.join().await;
        idempotency.drain().await;
        payments.drain().await;
        pool.close().await;
        result
    }
}
