//! What this service says in its log, and what it hears in the payment service's.

use std::collections::HashMap;

use sqlx::PgConnection;
use tael_eventlog::{ApplyError, Handler, NewEvent, Received};
use tael_grpc::convert;
use tael_ids::{MerchantId, ParseIdError, RefundId};
use tael_proto::event::v1 as wire;
use tael_proto::event::v1::payload::Kind;

use crate::domain::{Outcome, Refund, State};
use crate::store::settle::Ended;
use crate::usecase::Refunds;

/// The reason of the failure of a refund that a person rejected.
const REJECTED: &str = "REJECTED";

/// Says that a refund was requested.
pub(crate) fn created(refund: &Refund) -> NewEvent {
    NewEvent {
        merchant_id: refund.merchant_id,
        aggregate_id: refund.id.to_string(),
        kind: Kind::RefundCreated(wire::RefundCreated {
            refund_id: refund.id.to_string(),
            order_id: refund.order_id.to_string(),
            payment_id: refund.payment_id.to_string(),
            amount: Some(convert::money(refund.amount)),
        }),
        occur_time: refund.create_time,
        traceparent: None,
    }
}

/// Says how a refund ended; nothing while it has not. It belongs to the trace given, or to the current span's.
pub(crate) fn ended(refund: &Refund, traceparent: Option<String>) -> Option<NewEvent> {
    let (kind, occur_time) = match &refund.state {
        State::PendingApproval | State::Processing => return None,
        State::Succeeded { end_time } => (succeeded(refund), *end_time),
        State::Failed { end_time, reason } => (failed(refund, reason), *end_time),
        State::Rejected { end_time } => (failed(refund, REJECTED), *end_time),
    };
    Some(NewEvent {
        merchant_id: refund.merchant_id,
        aggregate_id: refund.id.to_string(),
        kind,
        occur_time,
        traceparent,
    })
}

fn succeeded(refund: &Refund) -> Kind {
    let lines = refund.lines.iter().map(|line| wire::RefundedLine {
        line_id: line.line_id.to_string(),
        quantity: line.quantity,
        amount: Some(convert::money(line.amount)),
    });
    Kind::RefundSucceeded(wire::RefundSucceeded {
        refund_id: refund.id.to_string(),
        order_id: refund.order_id.to_string(),
        payment_id: refund.payment_id.to_string(),
        amount: Some(convert::money(refund.amount)),
        lines: lines.collect(),
        reason: refund.reason.clone(),
    })
}

fn failed(refund: &Refund, reason: &str) -> Kind {
    Kind::RefundFailed(wire::RefundFailed {
        refund_id: refund.id.to_string(),
        order_id: refund.order_id.to_string(),
        payment_id: refund.payment_id.to_string(),
        amount: Some(convert::money(refund.amount)),
        reason: reason.to_owned(),
    })
}

/// Hears the payment service's final word on refunds.
#[derive(Debug)]
pub(crate) struct PaymentLog {
    pub(crate) refunds: Refunds,
}

impl Handler for PaymentLog {
    fn handles(&self, kind: &Kind) -> bool {
        outcome(kind).is_some()
    }

    async fn apply(&self, tx: &mut PgConnection, events: &[Received]) -> Result<(), ApplyError> {
        let mut ended: HashMap<RefundId, Ended> = HashMap::new();
        let mut traces = HashMap::new();
        for received in events {
            let Some((refund_id, outcome)) = outcome(&received.kind) else { continue };
            let refund_id: RefundId = refund_id.parse().map_err(poison)?;
            let merchant_id: MerchantId = received.event.merchant_id.parse().map_err(poison)?;
            // The first word is final; a second one would contradict or repeat it.
            ended.entry(refund_id).or_insert(Ended { merchant_id, refund_id, outcome });
            if let Some(traceparent) = received.traceparent() {
                traces.entry(refund_id).or_insert(traceparent);
            }
        }
        if ended.is_empty() {
            return Ok(());
        }
        let ended: Vec<Ended> = ended.into_values().collect();
        self.refunds.settle(tx, &ended, &traces).await?;
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
        | Kind::PaymentAlarmRaised(_)
        | Kind::RefundCreated(_)
        | Kind::RefundSucceeded(_)
        | Kind::RefundFailed(_)
        | Kind::BatchClosed(_) => None,
    }
}

fn poison(error: ParseIdError) -> ApplyError {
    ApplyError::Poison(Box::new(error))
}
