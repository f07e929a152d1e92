//! Domain values go on the wire.

use tael_grpc::convert::{money, timestamp};
use tael_proto::payment::v1 as wire;

use crate::channel::{StatementEntry, StatementLineKind, UnreadableLine};
use crate::domain::channel_account::{ChannelAccount, Identity};
use crate::domain::integrity_alert::IntegrityAlert;
use crate::domain::payment::{Attempt, AttemptState, Failure, Payment, PaymentState};
use crate::domain::refund_execution::{Refund, RefundState};
use crate::events::{channel, method};

pub(super) fn account(account: ChannelAccount) -> wire::ChannelAccount {
    let on_wire = channel(account.channel());
    let Identity::Alipay(identity) = account.identity;
    wire::ChannelAccount {
        channel_account_id: account.id.to_string(),
        merchant_id: account.merchant_id.to_string(),
        channel: on_wire.into(),
        label: account.label,
        account: Some(wire::channel_account::Account::Alipay(wire::AlipayAccount {
            app_id: identity.app_id,
            seller_id: identity.seller_id,
            gateway_url: identity.gateway_url,
        })),
        create_time: Some(timestamp(account.create_time)),
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
        channel: channel(latest.channel).into(),
        failure: failure_of(&latest.state),
        subject: payment.subject,
    }
}

fn next_action(payment: &Payment) -> Option<wire::NextAction> {
    match &payment.latest_attempt().state {
        AttemptState::Pending { qr_code } => {
            Some(wire::NextAction { action: Some(wire::next_action::Action::QrCode(qr_code.clone())) })
        }
        AttemptState::Initiated
        | AttemptState::Succeeded
        | AttemptState::Closed
        | AttemptState::Failed(_) => None,
    }
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
        channel: channel(attempt.channel).into(),
        channel_account_id: attempt.channel_account_id.to_string(),
        method: method(attempt.method).into(),
        state: state.into(),
        in_doubt: attempt.in_doubt,
        routing_reason: attempt.routing_reason,
        channel_transaction_id: attempt.channel_transaction_id.unwrap_or_default(),
        failure: failure_of(&attempt.state),
        create_time: Some(timestamp(attempt.create_time)),
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
        field: alert.mismatch.field.name().to_owned(),
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
