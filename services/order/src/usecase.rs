//! One function per use case; the only place that opens transactions.

pub(crate) mod expiry;
mod locked_order;
pub(crate) mod order;
pub(crate) mod order_refund;
pub(crate) mod payment_received;
pub(crate) mod promotion;
pub(crate) mod unapplied_payment;
pub(crate) mod voucher;
mod voucher_reservation;

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tael_clock::Clock;
use tael_eventlog::EventLog;
use tael_idempotency::IdempotencyKey;
use tael_sealed::Keyring;

use crate::clients::PaymentClient;
use crate::domain::code::NoRandomness;

/// How long a worker waits for the database to say what is due, and to write what became of it, before the connection
/// counts as lost. Work is not lost with it: it is due again when its lease ends. The first asks for nothing that is
/// locked; the second may wait as long as the server lets it.
const CLAIM_LIMIT: Duration = Duration::from_secs(5);
const WRITE_LIMIT: Duration = Duration::from_secs(20);

/// The use cases and what they need.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) pool: PgPool,
    pub(crate) log: EventLog,
    pub(crate) keyring: Arc<Keyring>,
    pub(crate) payments: PaymentClient,
    pub(crate) clock: Clock,
}

/// What can fail in every use case, whatever it is about. Each aggregate's error has it as one of its cases.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the idempotency key belongs to another request")]
    KeyReused(IdempotencyKey),
    #[error("a row that was just seen is gone")]
    RowVanished,
    #[error("no voucher code could be made")]
    NoRandomness(#[from] NoRandomness),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// Makes sure that what is stored under a key was made by an equal request.
fn check_key(key: IdempotencyKey, stored: &[u8]) -> Result<(), Failure> {
    if key.matches(stored) { Ok(()) } else { Err(Failure::KeyReused(key)) }
}

/// Lets `?` take a use case's error from whatever a [`Failure`] is made of.
macro_rules! from_failures {
    ($error:ty: $($cause:ty),+) => {$(
        impl From<$cause> for $error {
            fn from(cause: $cause) -> Self {
                Self::Failure(cause.into())
            }
        }
    )+};
}
use from_failures;
