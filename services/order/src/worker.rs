//! What is done without being asked: giving up orders whose time is up.

use std::time::Duration;

use tael_grpc::status::Chain;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::usecase::Orders;
use crate::usecase::expiry::BATCH;

/// Expires orders until `shutdown`; a batch that was begun is ended.
pub(crate) async fn expire(orders: Orders, interval: Duration, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        // A full batch: there is more.
        while run_once(&orders).await == BATCH && !shutdown.is_cancelled() {}
    }
}

/// Takes one batch of due orders and returns how many it took.
async fn run_once(orders: &Orders) -> usize {
    match orders.expire_due().await {
        Ok(taken) => taken,
        Err(error) => {
            tracing::warn!(error = %Chain(&error), "orders could not be expired");
            0
        }
    }
}
