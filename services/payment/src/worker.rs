//! The poller: asks channels about what is still open, so that a lost notification delays a payment and no more.

pub(crate) mod doubt;

use std::time::Duration;

use tael_grpc::status::Chain;
use tokio_util::sync::CancellationToken;

use crate::usecase::Payments;

/// The longest pause between two looks at the schedule.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// The pause after the schedule could not be read.
const FAILURE_PAUSE: Duration = Duration::from_secs(2);

/// A batch that takes longer than this many calls to a channel is given up, and what it held is due again when its leases
/// end: a connection to the database that fell silent must not stop the poller for good.
const MAX_CALLS: u32 = 8;

/// Runs [`Payments::poll_once`] again and again. Replicas share the work by leases.
pub(crate) struct Poller {
    payments: Payments,
    pause: Duration,
}

impl Poller {
    pub(crate) fn new(payments: Payments) -> Self {
        // Often enough that the first question is not much later than it is due.
        let pause = (payments.settings().poll.first / 4).min(MAX_PAUSE);
        Self { payments, pause }
    }

    /// Polls until `shutdown`; a batch that was begun is ended.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let patience = self.payments.settings().channel_timeout * MAX_CALLS;
        loop {
            let pause = match tokio::time::timeout(patience, self.payments.poll_once()).await {
                Ok(Ok(0)) => self.pause,
                // There may be more.
                Ok(Ok(_)) => Duration::ZERO,
                Err(_elapsed) => {
                    tracing::warn!("a batch took too long and is given up");
                    FAILURE_PAUSE
                }
                Ok(Err(error)) => {
                    tracing::warn!(error = %Chain(&error), "the schedule could not be read");
                    FAILURE_PAUSE
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.cancelled() => return,
            }
        }
    }
}
