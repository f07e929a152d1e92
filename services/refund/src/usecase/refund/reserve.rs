//! Setting aside what a refund takes of vouchers, before it can move money.

use std::collections::HashMap;

use jiff::Timestamp;
use tael_fault::crash_point;
use tael_grpc::status::Chain;
use tael_postgres::within;
use tracing::Instrument as _;

use super::execute::{BATCH, CLAIM_LIMIT, lease_end};
use super::{RefundError, Refunds};
use crate::domain::{Outcome, Refund, RefundOutcome, Reservation, State, VOUCHER_USED};
use crate::store;

/// Whether what a refund takes is set aside.
pub(super) enum Reserved {
    /// The refund may go on.
    Yes(Refund),
    /// The order service gave no answer; it is asked again later.
    NotYet(Refund),
}

impl Refunds {
    /// Has the order service set aside what a refund takes. A refund that it refuses fails and gives back what it took:
    /// an error, or the failed refund when the reason is none that a caller can mend.
    pub(super) async fn reserve(&self, mut refund: Refund) -> Result<Reserved, RefundError> {
        if !refund.vouchers.unreserved {
            return Ok(Reserved::Yes(refund));
        }
        let answer = self.orders.reserve_voucher_uses(&refund).await;
        crash_point("refund.reserve.called");
        let (refusal, units) = match answer {
            Ok(Reservation::Reserved) => {
                store::refund::reserved(&self.pool, refund.merchant_id, refund.id).await?;
                crash_point("refund.reserve.committed");
                refund.vouchers.unreserved = false;
                return Ok(Reserved::Yes(refund));
            }
            Ok(Reservation::Used { line_id, used }) => (VOUCHER_USED.to_owned(), Some((line_id, used))),
            Ok(Reservation::Refused(reason)) => (reason, None),
            Err(error) => {
                tracing::warn!(tael.refund_id = %refund.id, error = %Chain(&error), "whether uses of vouchers are set aside is not known");
                return Ok(Reserved::NotYet(refund));
            }
        };
        let failed = self.refuse(&refund, refusal).await?;
        match units {
            Some(_) => Err(RefundError::VoucherUsed { order_id: refund.order_id, units }),
            // Somebody else may have ended it meanwhile; it is returned as it stands.
            None => match failed {
                Some(failed) => Ok(Reserved::Yes(failed)),
                None => Ok(Reserved::Yes(self.get(refund.merchant_id, refund.id).await?)),
            },
        }
    }

    /// Fails a refund for which nothing could be set aside; none when it has ended.
    async fn refuse(&self, refund: &Refund, reason: String) -> Result<Option<Refund>, RefundError> {
        let outcome = RefundOutcome {
            merchant_id: refund.merchant_id,
            refund_id: refund.id,
            outcome: Outcome::Failed(reason),
        };
        let mut tx = self.pool.begin().await?;
        let mut failed =
            self.complete(&mut tx, &[outcome], &["pending_approval", "processing"], &HashMap::new()).await?;
        tx.commit().await?;
        self.log.wake();
        Ok(failed.pop())
    }

    /// Asks again for refunds that await approval and whose uses are not set aside yet; returns how many there were.
    pub(crate) async fn reserve_due(&self) -> Result<usize, RefundError> {
        let now = self.clock.now();
        let claim = store::refund::claim_unreserved(&self.pool, now, lease_end(now), BATCH);
        let due = within(CLAIM_LIMIT, claim).await?;
        let count = due.len();
        let tries = due.into_iter().map(|refund| {
            let span = tracing::info_span!(
                "refund.retry",
                tael.merchant_id = %refund.merchant_id,
                tael.refund_id = %refund.id,
            );
            self.reserve_again(refund).instrument(span)
        });
        for tried in futures::future::join_all(tries).await {
            tried?;
        }
        Ok(count)
    }

    async fn reserve_again(&self, refund: Refund) -> Result<(), RefundError> {
        match self.reserve(refund).await {
            Ok(Reserved::NotYet(refund)) => {
                let pause = self.backoff.pause(1, refund.id);
                let next = self.clock.now().saturating_add(pause).unwrap_or(Timestamp::MAX);
                let postponed =
                    store::refund::postpone_reservation(&self.pool, refund.merchant_id, refund.id, next);
                Ok(postponed.await?)
            }
            // Nobody waits for the refusal; the refund has failed.
            Ok(Reserved::Yes(_)) | Err(RefundError::VoucherUsed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sets aside what a refund takes, for a caller that waits for it.
    pub(super) async fn reserve_now(&self, refund: Refund) -> Result<(), RefundError> {
        match self.reserve(refund).await? {
            Reserved::Yes(_) => Ok(()),
            Reserved::NotYet(_) => Err(RefundError::NotReserved),
        }
    }

    /// Sets aside what a refund takes that is to be executed; says whether it may go on.
    pub(super) async fn reserve_first(&self, refund: Refund) -> Result<bool, RefundError> {
        match self.reserve(refund).await {
            Ok(Reserved::Yes(refund)) => Ok(refund.state == State::Processing),
            Ok(Reserved::NotYet(_)) | Err(RefundError::VoucherUsed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
