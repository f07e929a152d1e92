//! Refunds at the channel.

use tael_fault::crash_point;
use tael_grpc::status;
use tael_ids::{MerchantId, PaymentId, RefundId};
use tael_money::Money;
use tael_proto::r#type::v1::ErrorReason;
use tonic::{Code, Status};

use super::{Error, Payments, wait_for};
use crate::channel::RefundOrder;
use crate::domain::payment::{AttemptState, Payment, Schedule};
use crate::domain::refund::{CannotReserve, Refund, RefundEvidence, RefundState, check_reservation};
use crate::{events, store};

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
    pub(crate) async fn refund(&self, new: NewRefund) -> Result<Refund, Error> {
        match self.reserve(&new).await? {
            Reserved::New(refund) => self.execute_refund(refund).await?,
            Reserved::Before(refund) => {
                if refund.payment_id != new.payment_id || refund.amount != new.amount {
                    return Err(Error::KeyReused(key_reused(new.refund_id)));
                }
                self.resume(new.merchant_id, new.refund_id).await?;
            }
        }
        self.get_refund(new.merchant_id, new.refund_id).await
    }

    pub(crate) async fn get_refund(&self, merchant_id: MerchantId, id: RefundId) -> Result<Refund, Error> {
        let mut conn = self.pool.acquire().await?;
        store::refund::get(&mut conn, merchant_id, id).await?.ok_or(Error::RefundNotFound(id))
    }

    /// Commits the intent under the payment's lock: refunds of one payment queue here, so their sum never exceeds it.
    async fn reserve(&self, new: &NewRefund) -> Result<Reserved, Error> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let payment = store::payment::lock(&mut tx, new.merchant_id, new.payment_id)
            .await?
            .ok_or(Error::PaymentNotFound(new.payment_id))?;
        if let Some(refund) = store::refund::get(&mut tx, new.merchant_id, new.refund_id).await? {
            return Ok(Reserved::Before(refund));
        }
        check_reservation(&payment, new.amount).map_err(|reason| cannot_reserve(&payment, reason))?;
        let attempt =
            payment.attempts.iter().find(|a| a.state == AttemptState::Succeeded).ok_or(Error::RowVanished)?;
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
        if !store::refund::reserve(&mut tx, &refund, next_query).await? {
            // The same refund was asked of another payment at the same moment.
            return Err(Error::KeyReused(key_reused(new.refund_id)));
        }
        tx.commit().await?;
        crash_point("payment.refund.reserved");
        Ok(Reserved::New(refund))
    }

    /// Goes on with a refund that was reserved before: waits for who is at it, and takes over when nobody is.
    async fn resume(&self, merchant_id: MerchantId, id: RefundId) -> Result<(), Error> {
        let taken_over = wait_for(|| async {
            if self.get_refund(merchant_id, id).await?.state != RefundState::Pending {
                return Ok(Some(None));
            }
            let now = self.clock.now();
            let leased =
                store::refund::lease(&self.pool, merchant_id, id, now, self.lease_until(now)).await?;
            Ok(leased.map(Some))
        })
        .await?;
        match taken_over.flatten() {
            Some(refund) => self.execute_refund(refund).await,
            None => Ok(()),
        }
    }

    /// Asks the channel about a refund, or for it, by the holder of its lease, and records the answer.
    ///
    /// A first try asks for the refund. Later ones ask what became of it first: a refusal of a repetition would say
    /// nothing about the call before, whose money may have moved.
    pub(super) async fn execute_refund(&self, refund: Refund) -> Result<(), Error> {
        let payment = self.payment(refund.merchant_id, refund.payment_id).await?;
        let attempt = payment.attempt(refund.attempt_id).ok_or(Error::RowVanished)?;
        let open = self.open_account_of(attempt).await?;
        if let Err(retry_time) = open.health.admit() {
            let next_query =
                self.settings.poll.next(self.clock.now(), refund.schedule.tries, None).max(retry_time);
            return Ok(store::refund::stay(&self.pool, refund.merchant_id, refund.id, next_query).await?);
        }
        let order = RefundOrder {
            number: attempt.id.channel_number(),
            refund_number: refund.id.channel_number(),
            amount: refund.amount,
            reason: refund.reason.clone(),
        };
        let known = if refund.schedule.tries == 0 {
            RefundEvidence::Absent
        } else {
            open.adapter.query_refund(&order).await
        };
        crash_point("payment.refund.queried");
        let evidence = match known {
            RefundEvidence::Absent => open.adapter.refund(&order).await,
            RefundEvidence::Refunded { .. } | RefundEvidence::Refused(_) | RefundEvidence::Unknown => known,
        };
        crash_point("payment.refund.called");
        self.record_refund(&refund, evidence).await
    }

    async fn record_refund(&self, refund: &Refund, evidence: RefundEvidence) -> Result<(), Error> {
        if let RefundEvidence::Absent | RefundEvidence::Unknown = evidence {
            let next_query = self.settings.poll.next(self.clock.now(), refund.schedule.tries, None);
            return Ok(store::refund::stay(&self.pool, refund.merchant_id, refund.id, next_query).await?);
        }
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let payment = store::payment::lock(&mut tx, refund.merchant_id, refund.payment_id)
            .await?
            .ok_or(Error::RowVanished)?;
        let refund =
            store::refund::get(&mut tx, refund.merchant_id, refund.id).await?.ok_or(Error::RowVanished)?;
        let attempt = payment.attempt(refund.attempt_id).ok_or(Error::RowVanished)?;
        let event = match (&refund.state, evidence) {
            (RefundState::Pending, RefundEvidence::Refunded { refund_time }) => {
                store::refund::succeed(&mut tx, &refund, refund_time).await?;
                let total =
                    Money::new(payment.refunded.minor() + refund.amount.minor(), payment.amount.currency());
                events::refunded(&payment, attempt, &refund, total, false, refund_time, now)
            }
            (RefundState::Pending, RefundEvidence::Refused(failure)) => {
                store::refund::fail(&mut tx, &refund, &failure).await?;
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

fn cannot_reserve(payment: &Payment, reason: CannotReserve) -> Error {
    match reason {
        CannotReserve::NotSucceeded => {
            Error::PaymentState { payment_id: payment.id, state: payment.state.name() }
        }
        CannotReserve::OtherCurrency => Error::RefundCurrency,
        CannotReserve::Exceeds { refundable_minor } => {
            Error::RefundExceedsPayment { payment_id: payment.id, refundable_minor }
        }
    }
}

fn key_reused(id: RefundId) -> Status {
    status::error(
        Code::AlreadyExists,
        status::SHARED_DOMAIN,
        ErrorReason::IdempotencyKeyReused.as_str_name(),
        "this refund id was used with another request",
        [("idempotency_key", id.to_string())],
    )
}
