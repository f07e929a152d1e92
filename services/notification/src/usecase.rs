//! What the service does: one method per use case, grouped by aggregate. Only here and in the handlers of logs are
//! transactions opened.

mod delivery;
mod webhook_endpoint;

use std::sync::Arc;

pub(crate) use delivery::DeliveryError;
use sqlx::PgPool;
use tael_clock::Clock;
use tael_sealed::Keyring;
use tokio::sync::Notify;
pub(crate) use webhook_endpoint::{WebhookEndpointError, open_secret};

/// The endpoints and deliveries of all merchants. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Notifications {
    pub(crate) pool: PgPool,
    pub(crate) clock: Clock,
    pub(crate) keyring: Arc<Keyring>,
    /// Wakes the worker.
    pub(crate) due: Arc<Notify>,
}
