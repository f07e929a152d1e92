//! Other services' events, applied: the payment service's final word on refunds.

use std::collections::HashMap;

use sqlx::PgConnection;
use tael_eventlog::{ApplyError, Handler, Received};
use tael_ids::{MerchantId, ParseIdError, RefundId};
use tael_proto::event::v1::payload::Kind;

use crate::domain::{Outcome, RefundOutcome};
use crate::usecase::Refunds;

/// Applies the outcomes of refunds that the payment service publishes.
#[derive(Debug)]
pub(crate) struct PaymentConsumer {
    pub(crate) refunds: Refunds,
}

impl Handler for PaymentConsumer {
    fn handles(&self, kind: &Kind) -> bool {
        outcome(kind).is_some()
    }

    async fn apply(&self, tx: &mut PgConnection, events: &[Received]) -> Result<(), ApplyError> {
        let mut outcomes: HashMap<RefundId, RefundOutcome> = HashMap::new();
        let mut traces = HashMap::new();
        for received in events {
            let Some((refund_id, outcome)) = outcome(&received.kind) else { continue };
            let refund_id: RefundId = refund_id.parse().map_err(poison)?;
            let merchant_id: MerchantId = received.event.merchant_id.parse().map_err(poison)?;
            // The first word is final; a second one would contradict or repeat it.
            outcomes.entry(refund_id).or_insert(RefundOutcome { merchant_id, refund_id, outcome });
            if let Some(traceparent) = received.traceparent() {
                traces.entry(refund_id).or_insert(traceparent);
            }
        }
        if outcomes.is_empty() {
            return Ok(());
        }
        let outcomes: Vec<RefundOutcome> = outcomes.into_values().collect();
        self.refunds.apply_outcomes(tx, &outcomes, &traces).await?;
        Ok(())
    }

    fn applied(&self) {
        self.refunds.log.wake();
    }
}

fn outcome(kind: &Kind) -> Option<(&str, Outcome)> {
    match kind {
        Kind::PaymentRefunded(event) => Some((&event.refund_id, Outcome::Succeeded)),
        Kind::PaymentRefundFailed(event) => Some((&event.refund_id, Outcome::Failed(event.reason.clone()))),
        Kind::MerchantRegistered(_)
        | Kind::MerchantApproved(_)
        | Kind::OrderCreated(_)
        | Kind::OrderPaid(_)
        | Kind::OrderCancelled(_)
        | Kind::OrderExpired(_)
        | Kind::OrderPaymentHeld(_)
        | Kind::OrderPaymentReleased(_)
        | Kind::VoucherIssued(_)
        | Kind::VoucherRedeemed(_)
        | Kind::OrderRefunded(_)
        | Kind::PaymentCreated(_)
        | Kind::PaymentSucceeded(_)
        | Kind::PaymentClosed(_)
        | Kind::PaymentFailed(_)
        | Kind::PaymentIntegrityAlertRaised(_)
        | Kind::RefundCreated(_)
        | Kind::RefundSucceeded(_)
        | Kind::RefundFailed(_)
        | Kind::BatchClosed(_) => None,
    }
}

fn poison(error: ParseIdError) -> ApplyError {
    ApplyError::Poison(Box::new(error))
}
