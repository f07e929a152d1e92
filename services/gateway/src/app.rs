//! The composition root: the only place that sees every part.

use std::net::SocketAddr;

use tael_clock::Clock;
use tael_config::{ConfigErrors, Env};
use tael_grpc::client::{Channel, Connector};
use tael_runtime::{Schema, Service, StartError, TaskError, Tasks};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, Limits};
use crate::{routes, server};

/// The gateway, built and bound.
#[derive(Debug)]
pub struct App {
    listener: TcpListener,
    addr: SocketAddr,
    payment: Channel,
    limits: Limits,
}

impl Service for App {
    const NAME: &'static str = "gateway";
    const SCHEMAS: &'static [Schema] = &[];
    type Config = Config;

    fn config(env: &mut Env) -> Result<Config, ConfigErrors> {
        Config::read(env)
    }

    async fn build(config: Config, _clock: Clock) -> Result<Self, StartError> {
        let identity = tael_runtime::identity(config.tls.as_ref()).await?;
        let payment = Connector::new(identity).connect(&config.payment_url)?;
        let listener = TcpListener::bind(config.listen).await?;
        Ok(Self { addr: listener.local_addr()?, listener, payment, limits: config.limits })
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    async fn run(self, shutdown: CancellationToken) -> Result<(), TaskError> {
        let router = routes::router(self.payment, self.limits);
        let mut tasks = Tasks::new(shutdown.clone());
        tasks.spawn("http", server::serve(self.listener, router, self.limits, shutdown));
        tasks.join().await
    }
}
