//! Services under test.

use std::net::SocketAddr;

use tael_clock::Clock;
use tael_grpc::client::Channel;
use tael_runtime::{Service, TaskError};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A service that serves until it is stopped or dropped.
#[derive(Debug)]
pub struct Running {
    /// Where it serves.
    pub addr: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), TaskError>>,
}

/// Builds a service and lets it serve.
pub async fn run<S: Service>(config: S::Config, clock: Clock) -> Running {
    crate::logs();
    let service = S::build(config, clock).await.expect("the service can be built");
    let addr = service.addr();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(service.run(shutdown.clone()));
    Running { addr, shutdown, task }
}

impl Running {
    /// Returns a channel for generated clients.
    pub fn channel(&self) -> Channel {
        tael_grpc::client::connect(&self.url()).expect("the address is valid")
    }

    /// Returns the address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Tells the service to end and waits until it has drained.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        (&mut self.task).await.expect("the service did not panic").expect("the service ended as told");
    }

    /// Ends the service where it stands, as a crash would.
    pub fn kill(self) {
        self.task.abort();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}
