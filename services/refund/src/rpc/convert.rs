//! Domain values go on the wire.

use tael_grpc::convert;
use tael_money::Money;
use tael_proto::refund::v1 as wire;

use crate::domain::{Refund, RefundPolicy, State};

pub(super) fn refund_policy(policy: &RefundPolicy) -> wire::RefundPolicy {
    let limits = policy.auto_approve_limits.iter();
    wire::RefundPolicy {
        window_days: u32::from(policy.window_days),
        auto_approve_limits: limits.map(|(c, minor)| convert::money(Money::new(*minor, *c))).collect(),
    }
}

pub(super) fn refund(refund: &Refund) -> wire::Refund {
    let (state, failure_reason) = match &refund.state {
        State::PendingApproval => (wire::RefundState::PendingApproval, ""),
        State::Processing => (wire::RefundState::Processing, ""),
        State::Succeeded { .. } => (wire::RefundState::Succeeded, ""),
        State::Failed { reason, .. } => (wire::RefundState::Failed, reason.as_str()),
        State::Rejected { .. } => (wire::RefundState::Rejected, ""),
    };
    let lines = refund.lines.iter().map(|line| wire::RefundedLine {
        line_id: line.line_id.to_string(),
        quantity: line.quantity,
        amount: Some(convert::money(line.amount)),
    });
    wire::Refund {
        refund_id: refund.id.to_string(),
        merchant_id: refund.merchant_id.to_string(),
        order_id: refund.order_id.to_string(),
        payment_id: refund.payment_id.to_string(),
        amount: Some(convert::money(refund.amount)),
        lines: lines.collect(),
        reason: refund.reason.clone(),
        force_reason: refund.vouchers.force_reason.clone(),
        state: state.into(),
        failure_reason: failure_reason.to_owned(),
        create_time: Some(convert::timestamp(refund.create_time)),
        end_time: refund.state.end_time().map(convert::timestamp),
    }
}
