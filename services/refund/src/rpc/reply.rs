//! Domain values and errors go on the wire.

use tael_grpc::{convert, status};
use tael_money::Money;
use tael_proto::refund::v1::{self as wire, ErrorReason};
use tonic::{Code, Status};

use crate::clients::OrderError;
use crate::domain::{Policy, Refund, State};
use crate::usecase::Error;

const DOMAIN: &str = "tael.refund";

pub(super) fn policy(policy: &Policy) -> wire::RefundPolicy {
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
        state: state.into(),
        failure_reason: failure_reason.to_owned(),
        create_time: Some(convert::timestamp(refund.create_time)),
        end_time: refund.state.end_time().map(convert::timestamp),
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let reply = |code, reason: ErrorReason, metadata: &[(&'static str, String)]| {
            status::error(code, DOMAIN, reason.as_str_name(), message.clone(), metadata.iter().cloned())
        };
        match &error {
            Error::RefundNotFound(id) => {
                reply(Code::NotFound, ErrorReason::RefundNotFound, &[("refund_id", id.to_string())])
            }
            Error::RefundState { refund_id, state } => reply(
                Code::FailedPrecondition,
                ErrorReason::RefundState,
                &[("refund_id", refund_id.to_string()), ("state", state.to_uppercase())],
            ),
            Error::OrderNotFound(id) => {
                reply(Code::NotFound, ErrorReason::OrderNotFound, &[("order_id", id.to_string())])
            }
            Error::OrderNotPaid { order_id, state } => reply(
                Code::FailedPrecondition,
                ErrorReason::OrderNotPaid,
                &[("order_id", order_id.to_string()), ("state", (*state).to_owned())],
            ),
            Error::WindowPassed { order_id, window_days } => reply(
                Code::FailedPrecondition,
                ErrorReason::RefundWindowPassed,
                &[("order_id", order_id.to_string()), ("window_days", window_days.to_string())],
            ),
            Error::Currency(order) => {
                status::invalid_field("amount.currency", format!("must be the order's {order}"))
            }
            Error::ExceedsOrder { order_id, left } => reply(
                Code::FailedPrecondition,
                ErrorReason::RefundExceedsOrder,
                &[("order_id", order_id.to_string()), ("refundable_minor", left.minor().to_string())],
            ),
            Error::NoSuchLine { index } => {
                status::invalid_field(format!("lines.lines[{index}].line_id"), "is not a line of the order")
            }
            Error::ExceedsLine { line_id, left } => reply(
                Code::FailedPrecondition,
                ErrorReason::RefundExceedsLine,
                &[("line_id", line_id.to_string()), ("quantity_left", left.to_string())],
            ),
            Error::WorthNothing => status::invalid_field("lines.lines", "are worth nothing"),
            Error::KeyReused(status) => status.clone(),
            Error::Order(OrderError::Unavailable(cause)) => status::unavailable("order", cause),
            Error::Order(OrderError::NotFound | OrderError::NotPaid { .. } | OrderError::Malformed(_))
            | Error::RowVanished => status::broken_invariant(&error),
            Error::Database(e) => tael_postgres::status(e),
        }
    }
}
