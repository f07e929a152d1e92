//! Executing a refund through the payment service, and recording how it ended.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::PgConnection;
use tael_eventlog::NewEvent;
use tael_fault::crash_point;
use tael_grpc::deadline;
use tael_ids::{MerchantId, RefundId};
use tael_postgres::within;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{RefundError, Refunds};
use crate::domain::{Instruction, Outcome, Refund, RefundOutcome, State};
use crate::{events, store};

/// How long a try may take before another worker makes the next one: longer than most calls. Two tries at once are only
/// a waste, for both name the same refund; a crash holds a refund up for this long.
const LEASE: Duration = Duration::from_secs(15);
/// How many refunds a worker takes at once.
pub(super) const BATCH: i64 = 16;
/// How long the database may take to say what is due, and to write what became of a try, before the connection counts as
/// lost. The refund is tried again when its lease ends. The first asks for nothing that is locked; the second may wait as
/// long as the server lets it.
pub(super) const CLAIM_LIMIT: Duration = Duration::from_secs(5);
const WRITE_LIMIT: Duration = Duration::from_secs(20);
/// How long a call waits at most for the payment service's answer, or for that of the first call with its key, and how
/// much of its deadline it leaves.
const MAX_WAIT: Duration = Duration::from_secs(10);
const MARGIN: Duration = Duration::from_millis(500);

/// Returns until when a refund that is executed from now on is left to its executor.
pub(super) fn lease_end(now: Timestamp) -> Timestamp {
    now.saturating_add(LEASE).unwrap_or(Timestamp::MAX)
}

impl Refunds {
    /// Executes a refund that was just approved and returns it as it then stands.
    pub(super) async fn execute_first(&self, refund: Refund) -> Result<Refund, RefundError> {
        match self.try_once(&Instruction::first(&refund)).await? {
            Some(completed) => Ok(completed),
            // Not final, or the log was faster.
            None => self.get(refund.merchant_id, refund.id).await,
        }
    }

    /// Asks the payment service and records its answer. Returns the refund if this is what ended it.
    async fn try_once(&self, instruction: &Instruction) -> Result<Option<Refund>, RefundError> {
        // Some time is left to record the answer and to pass it on, or to say that there is none yet.
        let rest = deadline::remaining(MAX_WAIT);
        let at = Instant::now() + rest - MARGIN.min(rest / 2);
        let outcome = deadline::scope(at, self.payments.refund_payment(instruction)).await;
        crash_point("refund.execute.called");
        within(WRITE_LIMIT, self.record(instruction, outcome)).await
    }

    async fn record(
        &self,
        instruction: &Instruction,
        outcome: Option<Outcome>,
    ) -> Result<Option<Refund>, RefundError> {
        let Some(outcome) = outcome else {
            let pause = self.backoff.pause(instruction.tries.saturating_add(1), instruction.refund_id);
            let next = self.clock.now().saturating_add(pause).unwrap_or(Timestamp::MAX);
            store::refund::reschedule(&self.pool, instruction, next).await?;
            return Ok(None);
        };
        let Instruction { merchant_id, refund_id, .. } = *instruction;
        let outcome = RefundOutcome { merchant_id, refund_id, outcome };
        let mut tx = self.pool.begin().await?;
        let mut moved = self.apply_outcomes(&mut tx, &[outcome], &HashMap::new()).await?;
        tx.commit().await?;
        crash_point("refund.execute.committed");
        self.log.wake();
        Ok(moved.pop())
    }

    /// Completes refunds and says so in the log, in the caller's transaction. `traces` holds the traces of those whose
    /// outcome was not learnt in the current span. Refunds that were completed before are left as they are.
    pub(crate) async fn apply_outcomes(
        &self,
        tx: &mut PgConnection,
        outcomes: &[RefundOutcome],
        traces: &HashMap<RefundId, String>,
    ) -> Result<Vec<Refund>, sqlx::Error> {
        self.complete(tx, outcomes, &["processing"], traces).await
    }

    /// The same for refunds in one of these states.
    pub(super) async fn complete(
        &self,
        tx: &mut PgConnection,
        outcomes: &[RefundOutcome],
        from: &[&'static str],
        traces: &HashMap<RefundId, String>,
    ) -> Result<Vec<Refund>, sqlx::Error> {
        let moved = store::refund::complete(tx, outcomes, from, self.clock.now()).await?;
        let events: Vec<NewEvent> = moved
            .iter()
            .filter_map(|refund| events::completed(refund, traces.get(&refund.id).cloned()))
            .collect();
        self.log.append(tx, &events).await?;
        if moved.len() < outcomes.len() {
            self.report_contradictions(tx, outcomes).await?;
        }
        Ok(moved)
    }

    /// Says aloud when the payment service's word is not how our refund ended: a person must look.
    async fn report_contradictions(
        &self,
        tx: &mut PgConnection,
        outcomes: &[RefundOutcome],
    ) -> Result<(), sqlx::Error> {
        let states = store::refund::states(tx, outcomes).await?;
        let states: HashMap<RefundId, State> = states.into_iter().collect();
        for RefundOutcome { refund_id, outcome, .. } in outcomes {
            if let Some(state) = states.get(refund_id)
                && state.complete(outcome).is_err()
            {
                tracing::error!(tael.refund_id = %refund_id, state = state.name(), ?outcome, "a refund's outcome contradicts its state");
            }
        }
        Ok(())
    }

    /// Tries refunds again whose time has come; returns how many there were.
    pub(crate) async fn retry_due(&self) -> Result<usize, RefundError> {
        let now = self.clock.now();
        let claim = store::refund::claim(&self.pool, now, lease_end(now), BATCH);
        let due = within(CLAIM_LIMIT, claim).await?;
        let tries = due.iter().map(|(instruction, traceparent, unreserved)| {
            let span = tracing::info_span!(
                "refund.retry",
                tael.merchant_id = %instruction.merchant_id,
                tael.refund_id = %instruction.refund_id,
            );
            tael_telemetry::follow(&span, traceparent);
            self.try_again(instruction, *unreserved).instrument(span)
        });
        for tried in futures::future::join_all(tries).await {
            tried?;
        }
        Ok(due.len())
    }

    async fn try_again(&self, instruction: &Instruction, unreserved: bool) -> Result<(), RefundError> {
        if unreserved {
            let refund = self.get(instruction.merchant_id, instruction.refund_id).await?;
            if !self.reserve_first(refund).await? {
                return within(WRITE_LIMIT, self.record(instruction, None)).await.map(drop);
            }
        }
        self.try_once(instruction).await.map(drop)
    }

    /// Returns a refund as soon as the payment service was asked for the first time, or the deadline is near: what a
    /// repeated call is answered.
    pub(super) async fn after_first_try(
        &self,
        merchant_id: MerchantId,
        refund_id: RefundId,
    ) -> Result<Refund, RefundError> {
        let give_up = Instant::now() + deadline::remaining(MAX_WAIT).saturating_sub(MARGIN);
        let mut pause = Duration::from_millis(5);
        while Instant::now() + pause < give_up
            && store::refund::is_first_try(&self.pool, merchant_id, refund_id).await?
        {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
        self.get(merchant_id, refund_id).await
    }
}
