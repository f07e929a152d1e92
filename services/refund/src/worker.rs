//! Repeats refunds whose outcome is not known.

use std::time::Duration;

use tael_grpc::status::Chain;
use tokio_util::sync::CancellationToken;

use crate::usecase::{RefundError, Refunds};

/// Looks for refunds whose next try is due. Any number of replicas may run one.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) refunds: Refunds,
    /// How often to look.
    pub(crate) poll: Duration,
}

impl Worker {
    /// Works until `shutdown`; a batch that was begun is ended.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            match self.run_once().await {
                Ok(0) => {}
                Ok(_) => continue, // there may be more
                Err(error) => tracing::warn!(error = %Chain(&error), "refunds could not be tried again"),
            }
            tokio::select! {
                () = tokio::time::sleep(self.poll) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Tries one batch of refunds that are due; returns how many there were.
    async fn run_once(&self) -> Result<usize, RefundError> {
        Ok(self.refunds.reserve_due().await?.saturating_add(self.refunds.retry_due().await?))
    }
}
