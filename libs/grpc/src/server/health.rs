//! gRPC health that reflects what a service depends on.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::task::JoinHandle;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

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

/// What a service's readiness reflects. The health of the service is served under the empty name, that of each
/// dependency under its own name ("postgres", "redis").
#[derive(Debug, Default)]
pub struct Readiness {
    checks: Vec<Check>,
}

impl Readiness {
    /// Reflects these dependencies; with none the service is always ready.
    pub fn new(checks: Vec<Check>) -> Self {
        Self { checks }
    }

    pub(crate) async fn serve(
        self,
    ) -> (
        tonic_health::pb::health_server::HealthServer<impl tonic_health::pb::health_server::Health>,
        JoinHandle<()>,
    ) {
        let (reporter, server) = tonic_health::server::health_reporter();
        // Ready is what a look has shown, never what is assumed before the first one.
        reporter.set_service_status("", ServingStatus::NotServing).await;
        (server, tokio::spawn(watch(reporter, self.checks)))
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
