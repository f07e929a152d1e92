//! Refunds at the channel.

use tael_fault::crash_point;
use tael_ids::{MerchantId, PaymentId, RefundId};
use tael_money::Money;

use super::payment::attempt_ref;
use super::{Internal, Payments, wait_for};
use crate::channel::{RefundOrder, registration};
use crate::domain::payment::{AttemptState, Payment, Schedule};
use crate::domain::refund_execution::{
    CannotReserve, Refund, RefundEvidence, RefundState, check_reservation,
};
use crate::{events, store};

/// Why a use case of refunds did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RefundExecutionError {
    #[error("the merchant has no refund {0}")]
    NotFound(RefundId),
    #[error("the merchant has no payment {0}")]
    PaymentNotFound(PaymentId),
    #[error("payment {payment_id} is {state}")]
    PaymentState { payment_id: PaymentId, state: &'static str },
    #[error("the refund is larger than what is left of payment {payment_id}")]
    ExceedsPayment { payment_id: PaymentId, refundable_minor: i64 },
    #[error("the refund is in another currency than its payment")]
    Currency,
    #[error("the channel refunds payment {0} only as a whole")]
    MustBeWhole(PaymentId),
    #[error("this refund id was used with another request")]
    IdReused(RefundId),
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// A refund to be executed. Its id is the idempotency key.
#[derive(Clone, Debug)]
pub(crate) struct NewRefund {
    pub(crate) merchant_id: MerchantId,
    pub(crate) payment_id: PaymentId,
    pub(crate) refund_id: RefundId,
    pub(crate) amount: Money,
    pub(crate) reason: String,
}

impl Payments {
    /// Reserves the amount, then asks the channel to refund it. Repeated, it moves money once.
    #[tracing::instrument(name = "refund.execute", skip_all)]
    pub(crate) async fn refund(&self, new: NewRefund) -> Result<Refund, RefundExecutionError> {
        match self.reserve(&new).await? {
            Reserved::New(refund) => self.execute_refund(refund).await?,
            Reserved::Before(refund) => {
                if refund.payment_id != new.payment_id || refund.amount != new.amount {
                    return Err(RefundExecutionError::IdReused(new.refund_id));
                }
                self.resume(new.merchant_id, new.refund_id).await?;
            }
        }
        self.get_refund(new.merchant_id, new.refund_id).await
    }

    pub(crate) async fn get_refund(
        &self,
        merchant_id: MerchantId,
        id: RefundId,
    ) -> Result<Refund, RefundExecutionError> {
        let mut conn = self.pool.acquire().await?;
        store::refund_execution::get(&mut conn, merchant_id, id)
            .await?
            .ok_or(RefundExecutionError::NotFound(id))
    }

    /// Commits the intent under the payment's lock: refunds of one payment queue here, so their sum never exceeds it.
    async fn reserve(&self, new: &NewRefund) -> Result<Reserved, RefundExecutionError> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let payment = store::payment::lock(&mut tx, new.merchant_id, new.payment_id)
            .await?
            .ok_or(RefundExecutionError::PaymentNotFound(new.payment_id))?;
        if let Some(refund) = store::refund_execution::get(&mut tx, new.merchant_id, new.refund_id).await? {
            return Ok(Reserved::Before(refund));
        }
        check_reservation(&payment, new.amount).map_err(|reason| cannot_reserve(&payment, reason))?;
        let attempt = payment
            .attempts
            .iter()
            .find(|a| a.state == AttemptState::Succeeded)
            .ok_or(Internal::RowVanished)?;
        let is_whole = new.amount == payment.captured;
        if !is_whole && registration(&attempt.channel).is_some_and(|it| !it.capabilities.partial_refund) {
            return Err(RefundExecutionError::MustBeWhole(payment.id));
        }
        let refund = Refund {
            merchant_id: new.merchant_id,
            id: new.refund_id,
            payment_id: new.payment_id,
            attempt_id: attempt.id,
            amount: new.amount,
            reason: new.reason.clone(),
            state: RefundState::Pending,
            create_time: now,
            schedule: Schedule { tries: 0, lease_until: Some(self.lease_until(now)) },
            traceparent: tael_telemetry::current_traceparent().unwrap_or_default(),
        };
        let next_query = self.settings.poll.next(now, 0, None);
        if !store::refund_execution::reserve(&mut tx, &refund, next_query).await? {
            // The same refund was asked of another payment at the same moment.
            return Err(RefundExecutionError::IdReused(new.refund_id));
        }
        tx.commit().await?;
        crash_point("payment.refund.reserved");
        Ok(Reserved::New(refund))
    }

    /// Goes on with a refund that was reserved before: waits for who is at it, and takes over when nobody is.
    async fn resume(&self, merchant_id: MerchantId, id: RefundId) -> Result<(), RefundExecutionError> {
        let taken_over = wait_for::<_, RefundExecutionError, _>(|| async {
            if self.get_refund(merchant_id, id).await?.state != RefundState::Pending {
                return Ok(Some(None));
            }
            let now = self.clock.now();
            let leased =
                store::refund_execution::lease(&self.pool, merchant_id, id, now, self.lease_until(now))
                    .await?;
            Ok(leased.map(Some))
        })
        .await?;
        match taken_over.flatten() {
            Some(refund) => Ok(self.execute_refund(refund).await?),
            None => Ok(()),
        }
    }

    /// Asks the channel about a refund, or for it, by the holder of its lease, and records the answer.
    ///
    /// A first try asks for the refund. Later ones ask what became of it first: a refusal of a repetition would say
    /// nothing about the call before, whose money may have moved.
    pub(super) async fn execute_refund(&self, refund: Refund) -> Result<(), Internal> {
        let payment = self.known_payment(refund.merchant_id, refund.payment_id).await?;
        let attempt = payment.attempt(refund.attempt_id).ok_or(Internal::RowVanished)?;
        let open = self.open_account_of(attempt).await?;
        if let Err(retry_time) = open.health.admit() {
            let next_query =
                self.settings.poll.next(self.clock.now(), refund.schedule.tries, None).max(retry_time);
            return Ok(store::refund_execution::reschedule(
                &self.pool,
                refund.merchant_id,
                refund.id,
                next_query,
            )
            .await?);
        }
        let order = RefundOrder {
            attempt: attempt_ref(attempt),
            total: payment.captured,
            refund_number: refund.id.channel_number(),
            amount: refund.amount,
            reason: refund.reason.clone(),
        };
        let known = if refund.schedule.tries == 0 {
            RefundEvidence::Absent
        } else {
            open.channel.query_refund(&order).await
        };
        crash_point("payment.refund.queried");
        let evidence = match known {
            RefundEvidence::Absent => open.channel.refund(&order).await,
            RefundEvidence::Refunded { .. } | RefundEvidence::Refused(_) | RefundEvidence::Unknown => known,
        };
        crash_point("payment.refund.called");
        self.record_refund(&refund, evidence).await
    }

    async fn record_refund(&self, refund: &Refund, evidence: RefundEvidence) -> Result<(), Internal> {
        if let RefundEvidence::Absent | RefundEvidence::Unknown = evidence {
            let next_query = self.settings.poll.next(self.clock.now(), refund.schedule.tries, None);
            return Ok(store::refund_execution::reschedule(
                &self.pool,
                refund.merchant_id,
                refund.id,
                next_query,
            )
            .await?);
        }
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let payment = store::payment::lock(&mut tx, refund.merchant_id, refund.payment_id)
            .await?
            .ok_or(Internal::RowVanished)?;
        let refund = store::refund_execution::get(&mut tx, refund.merchant_id, refund.id)
            .await?
            .ok_or(Internal::RowVanished)?;
        let attempt = payment.attempt(refund.attempt_id).ok_or(Internal::RowVanished)?;
        let event = match (&refund.state, evidence) {
            (RefundState::Pending, RefundEvidence::Refunded { refund_time }) => {
                store::refund_execution::succeed(&mut tx, &refund, refund_time).await?;
                let total = payment.refunded.checked_add(refund.amount)?;
                events::refunded(&payment, attempt, &refund, total, false, refund_time, now)
            }
            (RefundState::Pending, RefundEvidence::Refused(failure)) => {
                store::refund_execution::fail(&mut tx, &refund, &failure).await?;
                events::refund_failed(&payment, &refund, &failure, now)
            }
            (RefundState::Failed(_), RefundEvidence::Refunded { .. }) => {
                tracing::error!(tael.refund_id = %refund.id, "the channel refunded what it had refused");
                return Ok(());
            }
            (RefundState::Pending | RefundState::Succeeded { .. } | RefundState::Failed(_), _) => {
                return Ok(());
            }
        };
        self.log.append(&mut tx, &[event]).await?;
        crash_point("payment.refund.written");
        tx.commit().await?;
        crash_point("payment.refund.committed");
        self.log.wake();
        Ok(())
    }
}

/// Whether a refund is new.
enum Reserved {
    New(Refund),
    Before(Refund),
}

fn cannot_reserve(payment: &Payment, reason: CannotReserve) -> RefundExecutionError {
    match reason {
        CannotReserve::NotSucceeded => {
            RefundExecutionError::PaymentState { payment_id: payment.id, state: payment.state.name() }
        }
        CannotReserve::OtherCurrency => RefundExecutionError::Currency,
        CannotReserve::Exceeds { refundable_minor } => {
            RefundExecutionError::ExceedsPayment { payment_id: payment.id, refundable_minor }
        }
        CannotReserve::Amount(error) => RefundExecutionError::Internal(error.into()),
    }
}
