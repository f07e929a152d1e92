//! Domain values go on the wire.

use serde_json::Value;
use tael_grpc::convert::{money, timestamp};
use tael_proto::payment::v1 as wire;

use crate::channel::{StatementEntry, StatementLineKind, UnreadableLine, alipay};
use crate::domain::attempt_decision::{AttemptDecision, DecisionState};
use crate::domain::channel_account::{AccountState, ChannelName};
use crate::domain::integrity_alert::IntegrityAlert;
use crate::domain::next_action::NextAction;
use crate::domain::payment::{Attempt, AttemptState, Failure, Payment, PaymentState};
use crate::domain::refund_execution::{Refund, RefundState};
use crate::events::{channel, method};
use crate::store::channel_account::Credential;
use crate::usecase::AccountWithCredentials;

pub(super) fn account(known: AccountWithCredentials) -> wire::ChannelAccount {
    let AccountWithCredentials { account, credentials } = known;
    let state = match account.state {
        AccountState::Draft => wire::ChannelAccountState::Draft,
        AccountState::Active => wire::ChannelAccountState::Active,
        AccountState::Disabled => wire::ChannelAccountState::Disabled,
    };
    wire::ChannelAccount {
        channel_account_id: account.id.to_string(),
        merchant_id: account.merchant_id.to_string(),
        channel: channel(&account.channel).into(),
        label: account.label,
        account: identity(&account.channel, &account.identity),
        create_time: Some(timestamp(account.create_time)),
        state: state.into(),
        credentials: credentials.into_iter().map(credential).collect(),
    }
}

/// One line for each channel.
fn identity(channel: &ChannelName, stored: &Value) -> Option<wire::channel_account::Account> {
    match channel.as_str() {
        alipay::NAME => alipay::Identity::from_stored(stored).map(|identity| {
            wire::channel_account::Account::Alipay(wire::AlipayAccount {
                app_id: identity.app_id,
                seller_id: identity.seller_id,
                gateway_url: identity.gateway_url,
            })
        }),
        _ => None,
    }
}

fn credential(credential: Credential) -> wire::ChannelCredential {
    wire::ChannelCredential {
        channel_credential_id: credential.id.to_string(),
        create_time: Some(timestamp(credential.create_time)),
        expire_time: credential.expire_time.map(timestamp),
        test_time: credential.test_time.map(timestamp),
        retire_time: credential.retire_time.map(timestamp),
    }
}

pub(super) fn attempt_decision(decision: AttemptDecision) -> wire::AttemptDecision {
    let (state, decided) = match decision.state {
        DecisionState::Requested => (wire::AttemptDecisionState::Requested, None),
        DecisionState::Approved { by, time } => (wire::AttemptDecisionState::Approved, Some((by, time))),
        DecisionState::Rejected { by, time } => (wire::AttemptDecisionState::Rejected, Some((by, time))),
    };
    let (decided_by, decide_time) = decided.unzip();
    wire::AttemptDecision {
        attempt_decision_id: decision.id.to_string(),
        merchant_id: decision.merchant_id.to_string(),
        payment_id: decision.payment_id.to_string(),
        attempt_id: decision.attempt_id.to_string(),
        state: state.into(),
        reason: decision.reason,
        requested_by: decision.requested_by,
        request_time: Some(timestamp(decision.request_time)),
        decided_by: decided_by.unwrap_or_default(),
        decide_time: decide_time.map(timestamp),
    }
}

/// `public_url` is where payers reach the gateway.
pub(super) fn payment(payment: Payment, public_url: &str) -> wire::Payment {
    let pay_time = match payment.state {
        PaymentState::Succeeded { pay_time } => Some(timestamp(pay_time)),
        PaymentState::Created | PaymentState::Pending | PaymentState::Closed | PaymentState::Failed => None,
    };
    wire::Payment {
        payment_id: payment.id.to_string(),
        merchant_id: payment.merchant_id.to_string(),
        order_id: payment.order_id.to_string(),
        amount: Some(money(payment.amount)),
        state: state(payment.state).into(),
        next_action: next_action(&payment),
        captured: Some(money(payment.captured)),
        refunded: Some(money(payment.refunded)),
        refund_reserved: Some(money(payment.refund_reserved)),
        create_time: Some(timestamp(payment.create_time)),
        expire_time: Some(timestamp(payment.expire_time)),
        pay_time,
        checkout_url: format!("{public_url}/checkout/{}", payment.id),
        attempts: payment.attempts.into_iter().map(attempt).collect(),
    }
}

pub(super) fn checkout(payment: Payment) -> wire::GetCheckoutResponse {
    let latest = payment.latest_attempt();
    wire::GetCheckoutResponse {
        amount: Some(money(payment.amount)),
        state: state(payment.state).into(),
        next_action: next_action(&payment),
        channel: channel(&latest.channel).into(),
        failure: failure_of(&latest.state),
        subject: payment.subject,
    }
}

fn next_action(payment: &Payment) -> Option<wire::NextAction> {
    use wire::next_action::Action;
    let action = match &payment.latest_attempt().state {
        AttemptState::Pending { action } => action.clone(),
        AttemptState::Initiated
        | AttemptState::Succeeded
        | AttemptState::Closed
        | AttemptState::Failed(_) => return None,
    };
    let action = match action {
        NextAction::QrCode { text } => Action::QrCode(text),
        NextAction::Redirect { url, form } => Action::Redirect(wire::Redirect { url, form }),
        NextAction::ClientParameters { parameters } => {
            Action::ClientParameters(wire::ClientParameters { parameters })
        }
        NextAction::Instructions { reference, details } => {
            Action::Instructions(wire::Instructions { reference, details })
        }
        NextAction::Wait => Action::Wait(wire::Wait {}),
    };
    Some(wire::NextAction { action: Some(action) })
}

fn attempt(attempt: Attempt) -> wire::Attempt {
    let state = match &attempt.state {
        AttemptState::Initiated => wire::AttemptState::Initiated,
        AttemptState::Pending { .. } => wire::AttemptState::Pending,
        AttemptState::Succeeded => wire::AttemptState::Succeeded,
        AttemptState::Closed => wire::AttemptState::Closed,
        AttemptState::Failed(_) => wire::AttemptState::Failed,
    };
    wire::Attempt {
        attempt_id: attempt.id.to_string(),
        channel: channel(&attempt.channel).into(),
        channel_account_id: attempt.channel_account_id.to_string(),
        method: method(attempt.method).into(),
        state: state.into(),
        in_doubt: attempt.in_doubt,
        routing_reason: attempt.routing_reason,
        channel_transaction_id: attempt.channel_transaction_id.unwrap_or_default(),
        failure: failure_of(&attempt.state),
        create_time: Some(timestamp(attempt.create_time)),
        problem: attempt.problem.unwrap_or_default(),
    }
}

fn state(state: PaymentState) -> wire::PaymentState {
    match state {
        PaymentState::Created => wire::PaymentState::Created,
        PaymentState::Pending => wire::PaymentState::Pending,
        PaymentState::Succeeded { .. } => wire::PaymentState::Succeeded,
        PaymentState::Closed => wire::PaymentState::Closed,
        PaymentState::Failed => wire::PaymentState::Failed,
    }
}

fn failure_of(state: &AttemptState) -> Option<wire::Failure> {
    match state {
        AttemptState::Failed(reason) => Some(failure(reason)),
        AttemptState::Initiated
        | AttemptState::Pending { .. }
        | AttemptState::Succeeded
        | AttemptState::Closed => None,
    }
}

fn failure(failure: &Failure) -> wire::Failure {
    wire::Failure { reason: failure.reason.name().to_owned(), channel_code: failure.channel_code.clone() }
}

pub(super) fn refund(refund: &Refund) -> wire::PaymentRefund {
    let (state, reason, refund_time) = match &refund.state {
        RefundState::Pending => (wire::PaymentRefundState::Pending, None, None),
        RefundState::Succeeded { refund_time } => {
            (wire::PaymentRefundState::Succeeded, None, Some(timestamp(*refund_time)))
        }
        RefundState::Failed(reason) => (wire::PaymentRefundState::Failed, Some(failure(reason)), None),
    };
    wire::PaymentRefund {
        refund_id: refund.id.to_string(),
        payment_id: refund.payment_id.to_string(),
        amount: Some(money(refund.amount)),
        state: state.into(),
        failure: reason,
        create_time: Some(timestamp(refund.create_time)),
        refund_time,
    }
}

pub(super) fn integrity_alert(alert: IntegrityAlert) -> wire::IntegrityAlert {
    wire::IntegrityAlert {
        integrity_alert_id: alert.id.to_string(),
        merchant_id: alert.merchant_id.to_string(),
        payment_id: alert.payment_id.to_string(),
        field: alert.mismatch.field,
        expected: alert.mismatch.expected,
        actual: alert.mismatch.actual,
        create_time: Some(timestamp(alert.create_time)),
    }
}

pub(super) fn statement_entry(entry: StatementEntry) -> wire::StatementLine {
    let line = match entry {
        StatementEntry::Line(line) => line,
        StatementEntry::Unreadable(unreadable) => return unreadable_line(unreadable),
    };
    let (kind, refund_number) = match line.kind {
        StatementLineKind::Payment => (wire::StatementLineKind::Payment, String::new()),
        StatementLineKind::Refund { refund_number } => (wire::StatementLineKind::Refund, refund_number),
    };
    wire::StatementLine {
        line: line.line,
        kind: kind.into(),
        channel_transaction_id: line.channel_transaction_id,
        merchant_number: line.merchant_number,
        refund_number,
        amount: Some(money(line.amount)),
        fee: Some(money(line.fee)),
        finish_time: Some(timestamp(line.finish_time)),
        received: Some(money(line.received)),
        problem: String::new(),
    }
}

fn unreadable_line(line: UnreadableLine) -> wire::StatementLine {
    wire::StatementLine {
        line: line.line,
        kind: wire::StatementLineKind::Unreadable.into(),
        channel_transaction_id: line.channel_transaction_id,
        merchant_number: line.merchant_number,
        refund_number: line.refund_number,
        problem: line.problem,
        ..wire::StatementLine::default()
    }
}
