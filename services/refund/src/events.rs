//! What this service says in its log.

use tael_eventlog::NewEvent;
use tael_grpc::convert;
use tael_proto::event::v1 as wire;
use tael_proto::event::v1::payload::Kind;

use crate::domain::{Refund, State};

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

/// Says how a refund was completed; nothing while it was not. It belongs to the trace given, or to the current span's.
pub(crate) fn completed(refund: &Refund, traceparent: Option<String>) -> Option<NewEvent> {
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
