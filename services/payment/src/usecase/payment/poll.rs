//! Asking channels about what is still open. The worker's step.

use std::time::Duration;

use futures::StreamExt as _;
use tael_fault::crash_point;
use tael_grpc::status::Chain;
use tael_postgres::within;
use tracing::Instrument as _;

use super::super::{Internal, Payments};
use super::attempt_ref;
use crate::accounts::OpenAccount;
use crate::channel::Resend;
use crate::domain::payment::{Attempt, AttemptState, Payment};
use crate::store;
use crate::store::payment::{Due, InDoubt};

/// So many are claimed at once, and asked about at the same time.
const BATCH: i64 = 16;
/// How long the database may take to count.
const COUNT_LIMIT: Duration = Duration::from_secs(5);

impl Payments {
    /// Asks about what is due now, at most one batch of attempts and one of refunds; returns how many that were.
    /// What can't be asked about now is due again when its lease ends.
    pub(crate) async fn poll_once(&self) -> Result<usize, Internal> {
        let now = self.clock.now();
        let until = self.lease_until(now);
        let attempts = store::payment::claim_due(&self.pool, now, until, BATCH).await?;
        let refunds = store::refund_execution::claim_due(&self.pool, now, until, BATCH).await?;
        if !attempts.is_empty() || !refunds.is_empty() {
            crash_point("payment.poll.claimed");
        }
        let count = attempts.len() + refunds.len();
        let attempts = attempts.into_iter().map(|due| {
            let span = tracing::info_span!(
                "payment.poll",
                tael.merchant_id = %due.merchant_id,
                tael.payment_id = %due.payment_id,
                tael.retries = due.tries,
            );
            tael_telemetry::follow(&span, &due.traceparent);
            async move {
                if let Err(error) = self.poll_attempt(&due).await {
                    tracing::warn!(error = %Chain(&error), "a payment could not be asked about");
                }
            }
            .instrument(span)
        });
        let refunds = refunds.into_iter().map(|refund| {
            let span = tracing::info_span!(
                "refund.poll",
                tael.merchant_id = %refund.merchant_id,
                tael.payment_id = %refund.payment_id,
                tael.refund_id = %refund.id,
                tael.retries = refund.schedule.tries,
            );
            tael_telemetry::follow(&span, &refund.traceparent);
            async move {
                if let Err(error) = self.execute_refund(refund).await {
                    tracing::warn!(error = %Chain(&error), "a refund could not be asked about");
                }
            }
            .instrument(span)
        });
        let batch = usize::try_from(BATCH).unwrap_or(usize::MAX);
        futures::join!(
            futures::stream::iter(attempts).buffer_unordered(batch).for_each(|()| std::future::ready(())),
            futures::stream::iter(refunds).buffer_unordered(batch).for_each(|()| std::future::ready(())),
        );
        Ok(count)
    }

    async fn poll_attempt(&self, due: &Due) -> Result<(), Internal> {
        let payment = self.known_payment(due.merchant_id, due.payment_id).await?;
        let attempt = payment.attempt(due.attempt_id).ok_or(Internal::RowVanished)?;
        let open = self.open_account_of(attempt).await?;
        if self.may_call(&payment, attempt, &open).await? {
            self.poll(&payment, attempt, &open).await?;
        }
        Ok(())
    }

    /// Counts the attempts whose outcome is not known.
    pub(crate) async fn in_doubt(&self) -> Result<InDoubt, sqlx::Error> {
        within(COUNT_LIMIT, store::payment::in_doubt(&self.pool)).await
    }

    /// Asks about an attempt in the way its state demands and records the answer, by the holder of its lease.
    pub(super) async fn poll(
        &self,
        payment: &Payment,
        attempt: &Attempt,
        open: &OpenAccount,
    ) -> Result<(), Internal> {
        let expired = payment.expire_time <= self.clock.now();
        let evidence = match &attempt.state {
            AttemptState::Initiated | AttemptState::Pending { .. } if expired => {
                return self.close_at_channel(payment, attempt, open).await;
            }
            AttemptState::Initiated => match open.registration.capabilities.resend {
                // Initiated again under the same number, it is the same payment: that ends the doubt.
                Resend::Repeatable => open.channel.initiate(&self.initiate_request(payment, attempt)).await,
                Resend::QueryOnly => open.channel.query(&attempt_ref(attempt)).await,
            },
            AttemptState::Pending { .. } => open.channel.query(&attempt_ref(attempt)).await,
            AttemptState::Succeeded | AttemptState::Closed | AttemptState::Failed(_) => return Ok(()),
        };
        crash_point("payment.poll.called");
        self.record(payment, attempt, open, evidence).await?;
        Ok(())
    }
}
