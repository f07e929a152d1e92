//! What is done without being asked: giving up orders whose time is up, and giving back payments that are not wanted.

use std::error::Error;
use std::time::Duration;

use tael_grpc::status::Chain;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::usecase::{Orders, expiry, unapplied_payment};

/// Expires orders until `shutdown`; a batch that was begun is ended.
pub(crate) async fn expire(orders: Orders, interval: Duration, shutdown: CancellationToken) {
    repeat(interval, expiry::BATCH, shutdown, || async {
        orders.expire_due().await.unwrap_or_else(|error| later(&error, "orders could not be expired"))
    })
    .await;
}

/// Gives unapplied payments back until `shutdown`; a batch that was begun is ended.
pub(crate) async fn refund(orders: Orders, interval: Duration, shutdown: CancellationToken) {
    repeat(interval, unapplied_payment::BATCH, shutdown, || async {
        orders
            .refund_due()
            .await
            .unwrap_or_else(|error| later(&error, "unapplied payments could not be given back"))
    })
    .await;
}

/// Takes a step, which says how many things it took, every `interval`, and at once after a full batch.
async fn repeat<F: Future<Output = usize>>(
    interval: Duration,
    batch: usize,
    shutdown: CancellationToken,
    step: impl Fn() -> F,
) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        while step().await == batch && !shutdown.is_cancelled() {}
    }
}

fn later(error: &dyn Error, what: &'static str) -> usize {
    tracing::warn!(error = %Chain(error), "{what}");
    0
}
