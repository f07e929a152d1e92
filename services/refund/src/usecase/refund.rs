//! Refunds: requested, decided, executed.

mod create;
mod decide;
mod execute;
mod reserve;

use sqlx::PgPool;
use tael_clock::Clock;
use tael_eventlog::EventLog;
use tael_idempotency::IdempotencyKey;
use tael_ids::{LineId, MerchantId, OrderId, RefundId};
use tael_money::{Currency, Money};
use uuid::Uuid;

pub(crate) use create::NewRefund;

use crate::clients::{OrderClient, OrderError, PaymentClient};
use crate::domain::{Backoff, Refund, Refusal};
use crate::store;

/// The refunds of all merchants. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Refunds {
    pub(crate) pool: PgPool,
    pub(crate) log: EventLog,
    pub(crate) orders: OrderClient,
    pub(crate) payments: PaymentClient,
    pub(crate) clock: Clock,
    pub(crate) backoff: Backoff,
}

/// Why a use case did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefundError {
    /// The merchant has no such refund.
    #[error("the merchant has no such refund")]
    NotFound(RefundId),
    /// The refund's state does not allow it.
    #[error("the refund is {state}")]
    State {
        refund_id: RefundId,
        /// As stored: "succeeded".
        state: &'static str,
    },
    /// The merchant has no such order.
    #[error("the merchant has no such order")]
    OrderNotFound(OrderId),
    /// The order was not paid.
    #[error("the order was not paid")]
    OrderNotPaid {
        order_id: OrderId,
        /// The order's state: "`pending_payment`".
        state: String,
    },
    /// The refund window has passed.
    #[error("the merchant's refund window of {window_days} days has passed")]
    WindowPassed { order_id: OrderId, window_days: u16 },
    /// Another currency than the order's.
    #[error("the order is in {0}")]
    Currency(Currency),
    /// More than what is left of the order.
    #[error("only {left} of the order can still be refunded")]
    ExceedsOrder { order_id: OrderId, left: Money },
    /// The order has no such line.
    #[error("a line is not of the order")]
    NoSuchLine {
        /// Which of the lines asked for, from 0.
        index: usize,
    },
    /// More units than are left of a line.
    #[error("only {left} units of the line can still be refunded")]
    ExceedsLine { line_id: LineId, left: u32 },
    /// The units asked for were free of charge.
    #[error("the lines are worth nothing")]
    WorthNothing,
    /// The refund covers units that were used, and nobody said why they are refunded all the same.
    #[error("units that the refund covers were used")]
    VoucherUsed {
        order_id: OrderId,
        /// The first such line, and how many units of it; none when the refusal is an old one.
        units: Option<(LineId, u32)>,
    },
    /// The order service has not said whether it set aside what the refund takes.
    #[error("the order service did not set the vouchers' uses aside")]
    NotReserved,
    /// The idempotency key was used with another request.
    #[error("the idempotency key was used before")]
    KeyReused(IdempotencyKey),
    /// The order service did not answer, or not sensibly.
    #[error("the order could not be read")]
    Order(#[source] OrderError),
    /// A row that must be there is not.
    #[error("a row vanished")]
    RowVanished,
    /// The database failed.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

impl Refunds {
    /// Returns a refund.
    pub(crate) async fn get(
        &self,
        merchant_id: MerchantId,
        refund_id: RefundId,
    ) -> Result<Refund, RefundError> {
        store::refund::get(&self.pool, merchant_id, refund_id).await?.ok_or(RefundError::NotFound(refund_id))
    }

    /// Returns a merchant's refunds, newest first.
    pub(crate) async fn list(
        &self,
        merchant_id: MerchantId,
        order_id: Option<OrderId>,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Refund>, RefundError> {
        Ok(store::refund::list(&self.pool, merchant_id, order_id, after, limit).await?)
    }
}

fn refused(refusal: Refusal, order_id: OrderId) -> RefundError {
    match refusal {
        Refusal::Currency { order } => RefundError::Currency(order),
        Refusal::ExceedsOrder { left } => RefundError::ExceedsOrder { order_id, left },
        Refusal::NoSuchLine { index } => RefundError::NoSuchLine { index },
        Refusal::ExceedsLine { line_id, left } => RefundError::ExceedsLine { line_id, left },
        Refusal::WorthNothing => RefundError::WorthNothing,
    }
}
