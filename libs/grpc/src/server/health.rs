//! gRPC health that reflects what a service depends on.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);

type Probe = Box<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// One dependency to look at.
pub struct Check {
    name: &'static str,
    required: bool,
    probe: Probe,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check")
            .field("name", &self.name)
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}

impl Check {
    /// A dependency without which no call can succeed: while it is down the service is not ready.
    pub fn required<F>(name: &'static str, probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self { name, required: true, probe: Box::new(move || Box::pin(probe())) }
    }

    /// A dependency without which calls are only slower. Its own health is served under its name; the service
    /// stays ready, for taking every replica out of service would turn a slow day into an outage.
    pub fn degrading<F>(name: &'static str, probe: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self { name, required: false, probe: Box::new(move || Box::pin(probe())) }
    }
}

/// The name under which a process says that it lives, whatever it depends on, until it ends. An orchestrator that
/// restarts what does not live must not ask for more: restarting every replica does not bring a database back.
pub const LIVE: &str = "live";

/// What a service's readiness reflects. The health of the service is served under the empty name, that of each
/// dependency under its own name ("postgres", "redis"), and under [`LIVE`] that the process answers at all.
#[derive(Debug, Default)]
pub struct Readiness {
    checks: Vec<Check>,
}

impl Readiness {
    /// Reflects these dependencies; with none the service is always ready.
    pub fn new(checks: Vec<Check>) -> Self {
        Self { checks }
    }

    /// Begins to look, and goes on until the result is dropped.
    pub(crate) async fn watch(self) -> Health {
        let reporter = HealthReporter::new();
        // Ready is what a look has shown, never what is assumed before the first one.
        reporter.set_service_status("", ServingStatus::NotServing).await;
        reporter.set_service_status(LIVE, ServingStatus::Serving).await;
        let watching = AbortOnDropHandle::new(tokio::spawn(watch(reporter.clone(), self.checks)));
        Health { reporter, watching }
    }
}

/// What is known of a running service's health.
pub(crate) struct Health {
    reporter: HealthReporter,
    watching: AbortOnDropHandle<()>,
}

impl Health {
    /// Makes a server that tells it. All of them tell the same.
    pub(crate) fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// Tells from now on that the service is not ready, whatever it depends on: it takes no further calls.
    pub(crate) async fn drain(&mut self) {
        self.watching.abort();
        // Only a look that has ended can't change its mind.
        let _aborted = (&mut self.watching).await;
        self.reporter.set_service_status("", ServingStatus::NotServing).await;
    }
}

async fn watch(reporter: HealthReporter, checks: Vec<Check>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before: Option<bool> = None;
    loop {
        ticks.tick().await;
        let mut ready = true;
        for check in &checks {
            let healthy = tokio::time::timeout(TIMEOUT, (check.probe)()).await.unwrap_or(false);
            ready &= healthy || !check.required;
            reporter.set_service_status(check.name, serving(healthy)).await;
        }
        reporter.set_service_status("", serving(ready)).await;
        if before != Some(ready) {
            tracing::info!(ready, "readiness changed");
            before = Some(ready);
        }
    }
}

fn serving(healthy: bool) -> ServingStatus {
    if healthy { ServingStatus::Serving } else { ServingStatus::NotServing }
}
