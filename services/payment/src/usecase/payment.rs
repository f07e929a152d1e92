//! Payments and their attempts.

mod close;
mod create;
mod evidence;
mod poll;

pub(crate) use create::NewPayment;
pub(super) use evidence::Recorded;
use jiff::Timestamp;
use tael_idempotency::IdempotencyKey;
use tael_ids::{MerchantId, OrderId, PaymentId};
use uuid::Uuid;

use super::{Internal, Payments};
use crate::accounts::OpenAccount;
use crate::channel::{AttemptRef, Initiate};
use crate::clients::ClientError;
use crate::domain::payment::{Attempt, Payment};
use crate::store;

/// Why a use case of payments did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PaymentError {
    #[error("the merchant has no payment {0}")]
    NotFound(PaymentId),
    #[error("the merchant has no order {0}")]
    OrderNotFound(OrderId),
    #[error("order {order_id} is {state}")]
    OrderState { order_id: OrderId, state: &'static str },
    #[error("the order has a payment that may still bring money")]
    OrderHasActivePayment { payment_id: Option<PaymentId> },
    #[error("merchant {0} is not approved for live money")]
    MerchantNotApproved(MerchantId),
    #[error("no channel account can take this method, currency and amount")]
    NoChannelAccount,
    #[error("the channel does not answer and is left alone for a time")]
    ChannelUnavailable { retry_after: std::time::Duration },
    #[error("the idempotency key belongs to another request")]
    KeyReused(IdempotencyKey),
    #[error(transparent)]
    Peer(#[from] ClientError),
    #[error(transparent)]
    Internal(#[from] Internal),
}

impl Payments {
    pub(crate) async fn payment(
        &self,
        merchant_id: MerchantId,
        id: PaymentId,
    ) -> Result<Payment, PaymentError> {
        store::payment::get(&self.pool, merchant_id, id).await?.ok_or(PaymentError::NotFound(id))
    }

    /// Returns a payment for its payer, whose capability is the id.
    pub(crate) async fn checkout(&self, id: PaymentId) -> Result<Payment, PaymentError> {
        let merchant_id =
            store::payment::merchant_of(&self.pool, id).await?.ok_or(PaymentError::NotFound(id))?;
        self.payment(merchant_id, id).await
    }

    pub(crate) async fn list(
        &self,
        merchant_id: MerchantId,
        order_id: Option<OrderId>,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Payment>, PaymentError> {
        Ok(store::payment::list(&self.pool, merchant_id, order_id, after, limit).await?)
    }

    /// Reads a payment of which something of ours has told.
    pub(super) async fn known_payment(
        &self,
        merchant_id: MerchantId,
        id: PaymentId,
    ) -> Result<Payment, Internal> {
        store::payment::get(&self.pool, merchant_id, id).await?.ok_or(Internal::RowVanished)
    }

    pub(super) async fn open_account_of(
        &self,
        attempt: &Attempt,
    ) -> Result<std::sync::Arc<OpenAccount>, Internal> {
        Ok(self.accounts.open(attempt.channel_account_id).await?)
    }

    /// Says whether the channel is worth calling about an attempt now, to the holder of its lease. If not, the lease ends,
    /// and the attempt is due when it may be.
    async fn may_call(
        &self,
        payment: &Payment,
        attempt: &Attempt,
        open: &OpenAccount,
    ) -> Result<bool, Internal> {
        let Err(retry_time) = open.health.admit() else { return Ok(true) };
        let next_query = self.next_query(payment, attempt).max(retry_time);
        let Payment { merchant_id, .. } = *payment;
        let problem = attempt.problem.as_deref();
        store::payment::reschedule(
            &self.pool,
            merchant_id,
            attempt.id,
            attempt.in_doubt,
            problem,
            next_query,
        )
        .await?;
        Ok(false)
    }

    fn next_query(&self, payment: &Payment, attempt: &Attempt) -> Timestamp {
        self.settings.poll.next(self.clock.now(), attempt.schedule.tries, Some(payment.expire_time))
    }

    fn initiate_request(&self, payment: &Payment, attempt: &Attempt) -> Initiate {
        Initiate {
            number: attempt.id.channel_number(),
            method: attempt.method,
            input: attempt.input.clone(),
            amount: payment.amount,
            subject: payment.subject.clone(),
            create_time: payment.create_time,
            expire_time: payment.expire_time,
            callback_url: format!(
                "{}/callbacks/{}/{}",
                self.settings.public_url,
                attempt.channel.as_str(),
                attempt.channel_account_id
            ),
        }
    }
}

/// How the channel knows an attempt.
pub(super) fn attempt_ref(attempt: &Attempt) -> AttemptRef {
    AttemptRef { number: attempt.id.channel_number(), refs: attempt.refs.clone() }
}
