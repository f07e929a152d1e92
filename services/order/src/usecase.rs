//! One function per use case; the only place that opens transactions.

pub(crate) mod expiry;
pub(crate) mod held;
mod order;
mod promotion;
pub(crate) mod received;
pub(crate) mod refunded;
mod voucher;

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tael_clock::Clock;
use tael_eventlog::EventLog;
use tael_ids::{OrderId, PaymentId, PromotionId, VoucherId};
use tael_sealed::Keyring;
use tonic::Status;

use crate::clients::Payments;
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
    pub(crate) payments: Payments,
    pub(crate) clock: Clock,
}

/// Why a use case did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the merchant has no order {0}")]
    OrderNotFound(OrderId),
    #[error("order {order_id} is {state}")]
    OrderState { order_id: OrderId, state: &'static str },
    #[error("order {0} may be paid at this moment, call again")]
    PaymentInDoubt(OrderId),
    #[error("order {order_id} has no held money of payment {payment_id}")]
    HeldPaymentNotFound { order_id: OrderId, payment_id: PaymentId },
    #[error("this can't be decided about the money of payment {payment_id}: it or its order is {state}")]
    HeldPaymentState { order_id: OrderId, payment_id: PaymentId, state: &'static str },
    #[error("nothing is left to pay after the discount")]
    NothingToPay,
    #[error("there is no promotion {0}")]
    PromotionNotFound(PromotionId),
    #[error("there is no voucher with this code")]
    VoucherNotFound,
    #[error("the voucher has {uses_left} uses left")]
    VoucherUsedUp { voucher_id: VoucherId, uses_left: u32 },
    #[error("the idempotency key belongs to another request")]
    KeyReused(Status),
    #[error("the payment service did not answer")]
    Payment(#[source] Status),
    #[error("a row that was just seen is gone")]
    RowVanished,
    #[error("no voucher code could be made")]
    NoRandomness(#[source] NoRandomness),
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}
