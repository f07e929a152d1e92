//! Errors go on the wire, each with its documented reason.

use tael_grpc::status;
use tael_proto::refund::v1::ErrorReason;
use tonic::{Code, Status};

use crate::clients::OrderError;
use crate::usecase::{RefundError, RefundPolicyError};

const DOMAIN: &str = "tael.refund";

impl From<RefundError> for Status {
    fn from(error: RefundError) -> Self {
        let reply = |code, reason: ErrorReason, metadata: &[(&'static str, String)]| {
            status::error(code, DOMAIN, reason.as_str_name(), error.to_string(), metadata.iter().cloned())
        };
        match &error {
            RefundError::NotFound(id) => {
                reply(Code::NotFound, ErrorReason::RefundNotFound, &[("refund_id", id.to_string())])
            }
            RefundError::State { refund_id, state } => reply(
                Code::FailedPrecondition,
                ErrorReason::RefundState,
                &[("refund_id", refund_id.to_string()), ("state", (*state).to_owned())],
            ),
            RefundError::OrderNotFound(id) => {
                reply(Code::NotFound, ErrorReason::OrderNotFound, &[("order_id", id.to_string())])
            }
            RefundError::OrderNotPaid { order_id, state } => reply(
                Code::FailedPrecondition,
                ErrorReason::OrderNotPaid,
                &[("order_id", order_id.to_string()), ("state", state.clone())],
            ),
            RefundError::WindowPassed { order_id, window_days } => reply(
                Code::FailedPrecondition,
                ErrorReason::RefundWindowPassed,
                &[("order_id", order_id.to_string()), ("window_days", window_days.to_string())],
            ),
            RefundError::Currency(order) => {
                status::invalid_field("amount.currency", format!("must be the order's {order}"))
            }
            RefundError::ExceedsOrder { order_id, left } => reply(
                Code::FailedPrecondition,
                ErrorReason::RefundExceedsOrder,
                &[("order_id", order_id.to_string()), ("refundable_minor", left.minor().to_string())],
            ),
            RefundError::NoSuchLine { index } => {
                status::invalid_field(format!("lines.lines[{index}].line_id"), "is not a line of the order")
            }
            RefundError::ExceedsLine { line_id, left } => reply(
                Code::FailedPrecondition,
                ErrorReason::RefundExceedsLine,
                &[("line_id", line_id.to_string()), ("quantity_left", left.to_string())],
            ),
            RefundError::VoucherUsed { order_id, units } => {
                let mut metadata = vec![("order_id", order_id.to_string())];
                if let Some((line_id, used)) = units {
                    metadata.extend([("line_id", line_id.to_string()), ("used", used.to_string())]);
                }
                reply(Code::FailedPrecondition, ErrorReason::VoucherUsed, &metadata)
            }
            RefundError::NotReserved => status::unavailable("order", &error),
            RefundError::WorthNothing => status::invalid_field("lines.lines", "are worth nothing"),
            RefundError::KeyReused(key) => key.conflict(),
            RefundError::Order(OrderError::Unavailable(cause)) => status::unavailable("order", cause),
            RefundError::Order(
                OrderError::NotFound | OrderError::NotPaid { .. } | OrderError::Malformed(_),
            )
            | RefundError::RowVanished => status::broken_invariant(&error),
            RefundError::Database(e) => tael_postgres::status(e),
        }
    }
}

impl From<RefundPolicyError> for Status {
    fn from(error: RefundPolicyError) -> Self {
        match &error {
            RefundPolicyError::KeyReused(key) => key.conflict(),
            RefundPolicyError::RowVanished => status::broken_invariant(&error),
            RefundPolicyError::Database(e) => tael_postgres::status(e),
        }
    }
}
