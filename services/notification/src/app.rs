//! The composition root.

use std::net::SocketAddr;
use std::sync::Arc;

use sqlx::PgPool;
use tael_clock::Clock;
use tael_config::{ConfigErrors, Env};
use tael_egress::Policy;
use tael_eventlog::{Consumer, DeadLetters};
use tael_facts::Auditable;
use tael_grpc::client::{Channel, Connector};
use tael_grpc::server::Bound;
use tael_idempotency::Idempotency;
use tael_proto::notification::v1::delivery_service_server::DeliveryServiceServer;
use tael_proto::notification::v1::webhook_endpoint_service_server::WebhookEndpointServiceServer;
use tael_runtime::{Schema, Service, StartError, TaskError, Tasks, readiness};
use tael_sealed::Keyring;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::Config;
use crate::authorization::RPC_ACCESS;
use crate::config::Webhooks;
use crate::consumers::EventConsumer;
use crate::domain::delivery::Schedule;
use crate::facts::DeliveryFacts;
use crate::rpc::{DeliveryRpc, WebhookEndpointRpc};
use crate::sender::Sender;
use crate::usecase::Notifications;
use crate::worker::Worker;

static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();
const SCHEMA: Schema = Schema { migrator: &MIGRATOR, grants: include_str!("../grants.sql") };

/// The notification service, built and bound.
#[derive(Debug)]
pub struct App {
    bound: Bound,
    pool: PgPool,
    idempotency: Idempotency,
    keyring: Arc<Keyring>,
    clock: Clock,
    /// The logs that are consumed, by their services' names.
    logs: [(&'static str, Channel); 4],
    sender: Sender,
    egress: Policy,
    webhooks: Webhooks,
}

impl Service for App {
    const NAME: &'static str = "notification";
    const SCHEMAS: &'static [Schema] = &[tael_eventlog::SCHEMA, SCHEMA];

    type Config = Config;

    fn config(env: &mut Env) -> Result<Config, ConfigErrors> {
        Config::read(env)
    }

    async fn build(config: Config, clock: Clock) -> Result<Self, StartError> {
        let Config { base, webhooks, .. } = &config;
        let keyring = config.keyring.clone();
        let pool = base.database::<Self>(&clock).await?;
        let idempotency = base.idempotency()?.sealed_by(config.keyring.clone());
        let identity = base.identity().await?;
        let peers = Connector::new(identity.clone());
        let logs = [
            ("order", peers.connect(&config.order_url)?),
            ("payment", peers.connect(&config.payment_url)?),
            ("refund", peers.connect(&config.refund_url)?),
            ("settlement", peers.connect(&config.settlement_url)?),
        ];
        let egress = config.egress.clone();
        let sender = Sender::new(egress.clone(), webhooks.timeout, clock.clone())?;
        let bound = base.bind(identity, RPC_ACCESS, &clock).await?;
        Ok(Self { bound, pool, idempotency, keyring, clock, logs, sender, egress, webhooks: *webhooks })
    }

    fn addr(&self) -> SocketAddr {
        self.bound.addr()
    }

    async fn run(self, shutdown: CancellationToken) -> Result<(), TaskError> {
        let Self { bound, pool, idempotency, keyring, clock, logs, sender, egress, webhooks } = self;
        let notifications = Notifications { pool: pool.clone(), clock, keyring, due: Arc::default() };
        let endpoints = WebhookEndpointRpc {
            notifications: notifications.clone(),
            idempotency: idempotency.clone(),
            egress,
        };
        let deliveries =
            DeliveryRpc { notifications: notifications.clone(), idempotency: idempotency.clone() };
        let audit = Auditable::new(pool.clone(), DeliveryFacts { pool: pool.clone() });
        let consumers = logs.map(|(source, log)| {
            let handler = EventConsumer { notifications: notifications.clone() };
            Consumer::new(Self::NAME, source, log, pool.clone(), handler)
        });
        let dead_letters = consumers.iter().fold(DeadLetters::new(pool.clone()), DeadLetters::with);
        let routes = Routes::new(WebhookEndpointServiceServer::new(endpoints))
            .add_service(DeliveryServiceServer::new(deliveries))
            .add_service(dead_letters.server())
            .add_service(audit.server());

        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn_fallible("grpc", {
            let readiness = readiness(&pool, &idempotency);
            bound.serve(routes, readiness, shutdown.clone().cancelled_owned())
        });
        for consumer in consumers {
            tasks.spawn(consumer.source(), consumer.run(shutdown.clone()));
        }
        let worker = Worker {
            notifications,
            sender,
            schedule: Schedule { speed: webhooks.retry_speed },
            poll: webhooks.poll,
            timeout: webhooks.timeout,
            traceparent: webhooks.traceparent,
        };
        tasks.spawn("worker", worker.run(shutdown));
        let result = tasks.join().await;
        // Calls whose callers went away may still be at work.
        idempotency.drain().await;
        pool.close().await;
        result
    }
}
