//! What people decide of attempts in doubt.

use tael_ids::{AttemptDecisionId, AttemptId, MerchantId, PaymentId};
use tael_postgres::violated_constraint;
use uuid::Uuid;

use super::{Internal, PaymentError, Payments};
use crate::domain::attempt_decision::{AttemptDecision, CannotDecide, DecisionState};
use crate::domain::payment::{Attempt, Payment};
use crate::{events, store};

/// Why a use case of decisions did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttemptDecisionError {
    #[error("the merchant has no decision {0}")]
    NotFound(AttemptDecisionId),
    #[error("the payment has no attempt {0}")]
    AttemptNotFound(AttemptId),
    #[error("attempt {0} is not in doubt, or the channel is being called about it")]
    NotInDoubt(AttemptId),
    #[error("decision {0} was made, or is still to be made")]
    Made(AttemptDecisionId),
    #[error("who asked for a decision can't make it")]
    SamePerson(String),
    #[error(transparent)]
    Payment(#[from] PaymentError),
    #[error(transparent)]
    Internal(#[from] Internal),
}

/// A decision to be asked for.
pub(crate) struct NewDecision {
    pub(crate) merchant_id: MerchantId,
    pub(crate) payment_id: PaymentId,
    pub(crate) attempt_id: AttemptId,
    pub(crate) reason: String,
    pub(crate) operator: String,
}

impl Payments {
    /// Asks for an attempt in doubt to be closed without the channel's evidence. Asked again by the same person for the
    /// same reason, it is the same decision.
    #[tracing::instrument(name = "attempt_decision.request", skip_all)]
    pub(crate) async fn request_decision(
        &self,
        new: NewDecision,
    ) -> Result<AttemptDecision, AttemptDecisionError> {
        let payment = self.payment(new.merchant_id, new.payment_id).await?;
        decidable(&payment, new.attempt_id)?;
        let decision = AttemptDecision {
            merchant_id: new.merchant_id,
            id: AttemptDecisionId::new(),
            payment_id: new.payment_id,
            attempt_id: new.attempt_id,
            state: DecisionState::Requested,
            reason: new.reason,
            requested_by: new.operator,
            request_time: self.clock.now(),
        };
        match store::attempt_decision::insert(&self.pool, &decision).await {
            Ok(()) => Ok(decision),
            Err(error) if violated_constraint(&error) == Some(store::attempt_decision::ONE_OPEN) => {
                let open = store::attempt_decision::open_of(&self.pool, new.merchant_id, new.attempt_id)
                    .await?
                    .ok_or(Internal::RowVanished)?;
                if open.reason == decision.reason && open.requested_by == decision.requested_by {
                    Ok(open)
                } else {
                    Err(AttemptDecisionError::Made(open.id))
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Closes the attempt and its payment by a second person's word.
    ///
    /// Nobody may be calling the channel about it meanwhile: an initiation under way could put a code on the payer's
    /// screen after that. Money that comes all the same is recorded when it is heard of, like that of any closed payment.
    #[tracing::instrument(name = "attempt_decision.approve", skip_all)]
    pub(crate) async fn approve_decision(
        &self,
        merchant_id: MerchantId,
        id: AttemptDecisionId,
        operator: String,
    ) -> Result<AttemptDecision, AttemptDecisionError> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let found = store::attempt_decision::lock(&mut tx, merchant_id, id).await?;
        let decision = found.ok_or(AttemptDecisionError::NotFound(id))?;
        check_decider(&decision, &operator)?;
        let payment = store::payment::lock(&mut tx, merchant_id, decision.payment_id)
            .await?
            .ok_or(Internal::RowVanished)?;
        let attempt = decidable(&payment, decision.attempt_id)?;
        // The schedule is not the payment's lock's: who leases takes it now, or has it.
        if !store::payment::lease_in(&mut tx, merchant_id, attempt.id, now, self.lease_until(now)).await? {
            return Err(AttemptDecisionError::NotInDoubt(attempt.id));
        }
        store::payment::close(&mut tx, &payment, attempt).await?;
        store::attempt_decision::decide(&mut tx, &decision, "approved", &operator, now).await?;
        self.log.append(&mut tx, &[events::closed(&payment, Some(id), now)]).await?;
        tx.commit().await?;
        tracing::warn!(
            tael.payment_id = %payment.id,
            tael.attempt_decision_id = %id,
            "two people closed a payment without the channel's evidence"
        );
        self.log.wake();
        Ok(AttemptDecision { state: DecisionState::Approved { by: operator, time: now }, ..decision })
    }

    /// Leaves the attempt as it is.
    #[tracing::instrument(name = "attempt_decision.reject", skip_all)]
    pub(crate) async fn reject_decision(
        &self,
        merchant_id: MerchantId,
        id: AttemptDecisionId,
        operator: String,
    ) -> Result<AttemptDecision, AttemptDecisionError> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let found = store::attempt_decision::lock(&mut tx, merchant_id, id).await?;
        let decision = found.ok_or(AttemptDecisionError::NotFound(id))?;
        check_decider(&decision, &operator)?;
        store::attempt_decision::decide(&mut tx, &decision, "rejected", &operator, now).await?;
        tx.commit().await?;
        Ok(AttemptDecision { state: DecisionState::Rejected { by: operator, time: now }, ..decision })
    }

    pub(crate) async fn decisions(
        &self,
        merchant_id: MerchantId,
        after: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<AttemptDecision>, AttemptDecisionError> {
        Ok(store::attempt_decision::list(&self.pool, merchant_id, after, limit).await?)
    }
}

/// Returns the attempt if people may decide it: it is the payment's latest, open, and in doubt.
fn decidable(payment: &Payment, id: AttemptId) -> Result<&Attempt, AttemptDecisionError> {
    let attempt = payment.attempt(id).ok_or(AttemptDecisionError::AttemptNotFound(id))?;
    if payment.latest_attempt().id == id && attempt.state.is_open() && attempt.in_doubt {
        Ok(attempt)
    } else {
        Err(AttemptDecisionError::NotInDoubt(id))
    }
}

fn check_decider(decision: &AttemptDecision, operator: &str) -> Result<(), AttemptDecisionError> {
    decision.check_decider(operator).map_err(|reason| match reason {
        CannotDecide::Made => AttemptDecisionError::Made(decision.id),
        CannotDecide::SamePerson => AttemptDecisionError::SamePerson(operator.to_owned()),
    })
}
