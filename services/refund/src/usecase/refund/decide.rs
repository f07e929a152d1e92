//! A person approves or rejects a refund.

use tael_fault::crash_point;
use tael_ids::{MerchantId, RefundId};

use super::execute::lease_end;
use super::{RefundError, Refunds};
use crate::domain::{Decision, NotAllowed, Refund, State, Step};
use crate::{events, store};

impl Refunds {
    /// Approves a refund and executes it. The same operator's second approval changes nothing.
    pub(crate) async fn approve(
        &self,
        merchant_id: MerchantId,
        refund_id: RefundId,
        operator: &str,
    ) -> Result<Refund, RefundError> {
        let mut tx = self.pool.begin().await?;
        let (mut refund, mut step) =
            self.decide(&mut tx, merchant_id, refund_id, Decision::Approve, operator).await?;
        if step == Step::Move && refund.vouchers.unreserved {
            // No call is made while a lock is held: first what it takes is set aside, then it is looked at again.
            drop(tx);
            self.reserve_now(refund).await?;
            tx = self.pool.begin().await?;
            (refund, step) =
                self.decide(&mut tx, merchant_id, refund_id, Decision::Approve, operator).await?;
        }
        if step == Step::Already {
            drop(tx);
            return self.after_first_try(merchant_id, refund_id).await;
        }
        let lease_end = lease_end(self.clock.now());
        if !store::refund::approve(&mut tx, merchant_id, refund_id, operator, lease_end).await? {
            return Err(RefundError::RowVanished);
        }
        tx.commit().await?;
        crash_point("refund.approve.committed");
        refund.state = State::Processing;
        refund.operator = Some(operator.to_owned());
        self.execute_first(refund).await
    }

    /// Rejects a refund and gives back what it took. The same operator's second rejection changes nothing.
    pub(crate) async fn reject(
        &self,
        merchant_id: MerchantId,
        refund_id: RefundId,
        operator: &str,
    ) -> Result<Refund, RefundError> {
        let mut tx = self.pool.begin().await?;
        let (mut refund, step) =
            self.decide(&mut tx, merchant_id, refund_id, Decision::Reject, operator).await?;
        if step == Step::Already {
            return Ok(refund);
        }
        let now = self.clock.now();
        if !store::refund::reject(&mut tx, merchant_id, refund_id, operator, now).await? {
            return Err(RefundError::RowVanished);
        }
        refund.state = State::Rejected { end_time: now };
        refund.operator = Some(operator.to_owned());
        if let Some(event) = events::completed(&refund, None) {
            self.log.append(&mut tx, &[event]).await?;
        }
        tx.commit().await?;
        crash_point("refund.reject.committed");
        self.log.wake();
        Ok(refund)
    }

    async fn decide(
        &self,
        tx: &mut sqlx::PgConnection,
        merchant_id: MerchantId,
        refund_id: RefundId,
        decision: Decision,
        operator: &str,
    ) -> Result<(Refund, Step), RefundError> {
        let refund =
            store::refund::lock(tx, merchant_id, refund_id).await?.ok_or(RefundError::NotFound(refund_id))?;
        match refund.decide(decision, operator) {
            Ok(step) => Ok((refund, step)),
            Err(NotAllowed) => Err(RefundError::State { refund_id, state: refund.state.name() }),
        }
    }
}
