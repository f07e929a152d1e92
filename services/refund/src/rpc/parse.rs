//! Requests become domain values.

use std::collections::{BTreeMap, HashSet};

use tael_grpc::fields::Fields;
use tael_ids::{LineId, MerchantId, RefundId};
use tael_proto::refund::v1::create_refund_request::Scope as WireScope;
use tael_proto::refund::v1::{self as wire, CreateRefundRequest, LinesRefund, SetRefundPolicyRequest};
use tonic::Status;

use crate::domain::{LineQuantity, RefundPolicy, Scope};
use crate::usecase::NewRefund;

/// The most lines and units that an order has.
const MAX_LINES: usize = 100;
const MAX_QUANTITY: u32 = 9999;
/// More limits than there are currencies are a mistake.
const MAX_LIMITS: usize = 200;

pub(super) fn set_refund_policy(
    request: &SetRefundPolicyRequest,
) -> Result<(MerchantId, RefundPolicy), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let policy = match &request.policy {
        Some(policy) => refund_policy(&mut fields, policy),
        None => fields.bad("policy", "is missing"),
    };
    fields.finish(|| Some((merchant_id?, policy?)))
}

fn refund_policy(fields: &mut Fields, policy: &wire::RefundPolicy) -> Option<RefundPolicy> {
    let window_days = fields.number("policy.window_days", policy.window_days, 1..=365);
    if policy.auto_approve_limits.len() > MAX_LIMITS {
        return fields.bad("policy.auto_approve_limits", format!("must be {MAX_LIMITS} at most"));
    }
    let mut auto_approve_limits = BTreeMap::new();
    for (index, limit) in policy.auto_approve_limits.iter().enumerate() {
        let field = format!("policy.auto_approve_limits[{index}]");
        let Some(limit) = fields.money_not_negative(&field, Some(limit)) else { continue };
        if auto_approve_limits.insert(limit.currency(), limit.minor()).is_some() {
            fields.bad::<()>(format!("{field}.currency"), "has a limit already");
        }
    }
    Some(RefundPolicy { window_days: u16::try_from(window_days?).ok()?, auto_approve_limits })
}

pub(super) fn new_refund(request: &CreateRefundRequest) -> Result<NewRefund, Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", &request.merchant_id);
    let order_id = fields.id("order_id", &request.order_id);
    let scope = match &request.scope {
        None => fields.bad("scope", "is missing"),
        Some(WireScope::Full(_)) => Some(Scope::Full),
        Some(WireScope::Amount(amount)) => fields.positive_money("amount", Some(amount)).map(Scope::Amount),
        Some(WireScope::Lines(lines)) => lines_scope(&mut fields, lines),
    };
    let reason = fields.text("reason", &request.reason, 1..=128);
    let force_reason = fields.text("force_reason", &request.force_reason, 0..=256);
    fields.finish(|| {
        Some(NewRefund {
            merchant_id: merchant_id?,
            order_id: order_id?,
            scope: scope?,
            reason: reason?,
            force_reason: force_reason?,
        })
    })
}

fn lines_scope(fields: &mut Fields, wire: &LinesRefund) -> Option<Scope> {
    if wire.lines.is_empty() || wire.lines.len() > MAX_LINES {
        return fields.bad("lines.lines", format!("must be 1 to {MAX_LINES}"));
    }
    let mut seen = HashSet::new();
    let mut lines = Vec::with_capacity(wire.lines.len());
    for (index, line) in wire.lines.iter().enumerate() {
        let id_field = format!("lines.lines[{index}].line_id");
        let line_id = fields.id::<LineId>(&id_field, &line.line_id);
        let quantity =
            fields.number(&format!("lines.lines[{index}].quantity"), line.quantity, 1..=MAX_QUANTITY);
        let (Some(line_id), Some(quantity)) = (line_id, quantity) else { continue };
        if !seen.insert(line_id) {
            fields.bad::<()>(id_field, "is there twice");
        }
        lines.push(LineQuantity { line_id, quantity });
    }
    Some(Scope::Lines(lines))
}

pub(super) fn decision(
    merchant_id: &str,
    refund_id: &str,
    operator: &str,
) -> Result<(MerchantId, RefundId, String), Status> {
    let mut fields = Fields::default();
    let merchant_id = fields.id("merchant_id", merchant_id);
    let refund_id = fields.id("refund_id", refund_id);
    let operator = fields.text("operator", operator, 1..=64);
    fields.finish(|| Some((merchant_id?, refund_id?, operator?)))
}
