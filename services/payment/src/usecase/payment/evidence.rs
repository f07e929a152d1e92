//! What a channel says is recorded here, whoever heard it: a call, a callback, the poller.

use sqlx::PgConnection;
use tael_fault::crash_point;
use tael_ids::{IntegrityAlertId, RefundId};

use super::super::{Internal, Payments};
use crate::accounts::OpenAccount;
use crate::domain::evidence::{Evidence, Paid, Verdict, judge};
use crate::domain::integrity_alert::{
    Assertion, IntegrityAlert, Mismatch, impossible_pay_time, mismatches, other_transaction,
};
use crate::domain::payment::{Attempt, AttemptState, Payment, PaymentState, Schedule};
use crate::domain::refund_execution::{Refund, RefundState};
use crate::{events, store};

/// What became of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::usecase) enum Recorded {
    /// It is recorded, or there was nothing to record.
    Taken,
    /// It contradicts our record: an integrity alert, and nothing else.
    Contradicted,
}

impl Payments {
    /// Records evidence by the holder of the attempt's lease, and ends the lease.
    pub(super) async fn record(
        &self,
        payment: &Payment,
        attempt: &Attempt,
        open: &OpenAccount,
        evidence: Evidence,
    ) -> Result<Recorded, Internal> {
        let recorded = match judge(&attempt.state, &evidence) {
            Verdict::Stay { in_doubt } => {
                let problem = match &evidence {
                    Evidence::Unknown { problem } => problem.as_deref(),
                    Evidence::ActionRequired { .. }
                    | Evidence::Refused(_)
                    | Evidence::Declined(_)
                    | Evidence::Absent
                    | Evidence::Waiting
                    | Evidence::Paid(_)
                    | Evidence::Reversed(_)
                    | Evidence::Closed => None,
                };
                self.reschedule(payment, attempt, in_doubt, problem).await?;
                return Ok(Recorded::Taken);
            }
            Verdict::Ended
            | Verdict::AwaitPayer
            | Verdict::Succeed
            | Verdict::Reverse
            | Verdict::Close
            | Verdict::Fail => self.apply(payment, attempt, open, evidence).await?,
        };
        if recorded == Recorded::Contradicted {
            self.reschedule(payment, attempt, attempt.in_doubt, attempt.problem.as_deref()).await?;
        }
        Ok(recorded)
    }

    pub(super) async fn reschedule(
        &self,
        payment: &Payment,
        attempt: &Attempt,
        in_doubt: bool,
        problem: Option<&str>,
    ) -> Result<(), Internal> {
        let next_query = self.next_query(payment, attempt);
        let merchant_id = payment.merchant_id;
        Ok(store::payment::reschedule(&self.pool, merchant_id, attempt.id, in_doubt, problem, next_query)
            .await?)
    }

    /// Records evidence that moves the payment, in one transaction with its events.
    pub(in crate::usecase) async fn apply(
        &self,
        payment: &Payment,
        attempt: &Attempt,
        open: &OpenAccount,
        evidence: Evidence,
    ) -> Result<Recorded, Internal> {
        if let Evidence::ActionRequired { action, refs } = &evidence {
            let next_query = self.next_query(payment, attempt);
            store::payment::await_payer(&self.pool, payment, attempt.id, action, refs, next_query).await?;
            return Ok(Recorded::Taken);
        }
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let payment = store::payment::lock(&mut tx, payment.merchant_id, payment.id)
            .await?
            .ok_or(Internal::RowVanished)?;
        let attempt = payment.attempt(attempt.id).ok_or(Internal::RowVanished)?;
        let mut recorded = Recorded::Taken;
        match (judge(&attempt.state, &evidence), &evidence) {
            // On money that was recorded before, too: the first message may have been right and this one not.
            (verdict, Evidence::Paid(paid) | Evidence::Reversed(paid)) => {
                let claim = Assertion { amount: Some(paid.amount), ..Assertion::default() };
                let mut found = mismatches(&payment, &open.account.identity, &claim);
                found.extend(other_transaction(attempt, paid));
                let mut paid = paid.clone();
                if found.is_empty() {
                    // The money is believed and its time is not: a day that it was not on would settle it.
                    let impossible = impossible_pay_time(attempt, &paid, now);
                    if impossible.is_some() {
                        paid.pay_time = now;
                    }
                    let moved = match verdict {
                        Verdict::Succeed => {
                            self.succeed(&mut tx, &payment, attempt, &paid).await?;
                            true
                        }
                        Verdict::Reverse => self.reverse(&mut tx, &payment, attempt, &paid).await?,
                        Verdict::Stay { .. }
                        | Verdict::Ended
                        | Verdict::AwaitPayer
                        | Verdict::Close
                        | Verdict::Fail => false,
                    };
                    if !moved {
                        return Ok(recorded);
                    }
                    self.raise_alerts(&mut tx, &payment, impossible.into_iter().collect()).await?;
                } else {
                    recorded = Recorded::Contradicted;
                    self.raise_alerts(&mut tx, &payment, found).await?;
                }
            }
            (Verdict::Close, _) => {
                store::payment::close(&mut tx, &payment, attempt).await?;
                self.log.append(&mut tx, &[events::closed(&payment, None, now)]).await?;
            }
            (Verdict::Fail, Evidence::Refused(failure) | Evidence::Declined(failure)) => {
                store::payment::fail(&mut tx, &payment, attempt, failure).await?;
                self.log.append(&mut tx, &[events::failed(&payment, failure, now)]).await?;
            }
            (
                Verdict::Stay { .. }
                | Verdict::Ended
                | Verdict::AwaitPayer
                | Verdict::Succeed
                | Verdict::Reverse
                | Verdict::Fail,
                _,
            ) => {
                return Ok(recorded);
            }
        }
        crash_point("payment.evidence.written");
        tx.commit().await?;
        crash_point("payment.evidence.committed");
        self.log.wake();
        Ok(recorded)
    }

    /// Money that comes for a payment that we had closed or failed is recorded all the same.
    async fn succeed(
        &self,
        tx: &mut PgConnection,
        payment: &Payment,
        attempt: &Attempt,
        paid: &Paid,
    ) -> Result<(), Internal> {
        match payment.state {
            PaymentState::Closed | PaymentState::Failed => {
                tracing::warn!(tael.payment_id = %payment.id, "money came for a payment that had ended");
            }
            PaymentState::Created | PaymentState::Pending | PaymentState::Succeeded { .. } => {}
        }
        store::payment::succeed(tx, payment, attempt, paid).await?;
        let event = events::succeeded(payment, attempt, paid, false, self.clock.now());
        Ok(self.log.append(tx, &[event]).await?)
    }

    /// Money came and the channel has given all of it back, unasked: in closing, or by the merchant's own hand at the
    /// channel. The books need both, that it came and that it went. Says whether there was anything to record.
    async fn reverse(
        &self,
        tx: &mut PgConnection,
        payment: &Payment,
        attempt: &Attempt,
        paid: &Paid,
    ) -> Result<bool, Internal> {
        if !payment.refunded.is_zero() || !payment.refund_reserved.is_zero() {
            // What went is what we asked for, or is recorded. Refunds have evidence of their own.
            return Ok(false);
        }
        let now = self.clock.now();
        let mut happened = Vec::new();
        if attempt.state != AttemptState::Succeeded {
            store::payment::succeed(tx, payment, attempt, paid).await?;
            happened.push(events::succeeded(payment, attempt, paid, true, now));
        }
        let refund = Refund {
            merchant_id: payment.merchant_id,
            // Of the attempt's own digits: the second to hear of the reversal makes no second refund.
            id: RefundId::from_uuid(attempt.id.uuid()),
            payment_id: payment.id,
            attempt_id: attempt.id,
            amount: payment.amount,
            reason: String::new(),
            state: RefundState::Pending,
            create_time: now,
            schedule: Schedule { tries: 0, lease_until: None },
            traceparent: attempt.traceparent.clone(),
        };
        if !store::refund_execution::reserve(tx, &refund, now).await? {
            return Err(Internal::RowVanished);
        }
        store::refund_execution::succeed(tx, &refund, now).await?;
        store::payment::release_order(tx, payment).await?;
        happened.push(events::refunded(payment, attempt, &refund, payment.amount, true, now, now));
        self.log.append(tx, &happened).await?;
        Ok(true)
    }

    /// Compares what a message claims with our record; says whether it agrees. If not there is an integrity alert, and the message
    /// must not be believed in anything else.
    pub(in crate::usecase) async fn verify_claim(
        &self,
        payment: &Payment,
        open: &OpenAccount,
        claim: &Assertion,
    ) -> Result<bool, Internal> {
        // Neither a payment's amount nor an account ever changes: what was read needs no lock.
        let found = mismatches(payment, &open.account.identity, claim);
        if found.is_empty() {
            return Ok(true);
        }
        let mut tx = self.pool.begin().await?;
        self.raise_alerts(&mut tx, payment, found).await?;
        tx.commit().await?;
        self.log.wake();
        Ok(false)
    }

    async fn raise_alerts(
        &self,
        tx: &mut PgConnection,
        payment: &Payment,
        found: Vec<Mismatch>,
    ) -> Result<(), Internal> {
        for mismatch in found {
            tracing::error!(
                tael.payment_id = %payment.id,
                field = mismatch.field,
                expected = mismatch.expected,
                actual = mismatch.actual,
                "a channel's message contradicts our record"
            );
            let alert = IntegrityAlert {
                merchant_id: payment.merchant_id,
                id: IntegrityAlertId::new(),
                payment_id: payment.id,
                mismatch,
                create_time: self.clock.now(),
            };
            if store::integrity_alert::insert(tx, &alert).await? {
                self.log.append(tx, &[events::integrity_alert_raised(payment, &alert)]).await?;
            }
        }
        Ok(())
    }
}
