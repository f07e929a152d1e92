//! Rows of `payment` and `attempt`, and the domain values that they stand for.

use serde::de::DeserializeOwned;
use serde_json::Value;
use tael_ids::{AttemptId, ChannelAccountId, MerchantId, OrderId, PaymentId};
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use super::super::{failure, method, money, unknown};
use crate::domain::channel_account::ChannelName;
use crate::domain::next_action::NextAction;
use crate::domain::payment::{Attempt, AttemptState, Payment, PaymentState, Schedule};

pub(super) struct PaymentRow {
    pub(super) merchant_id: Uuid,
    pub(super) payment_id: Uuid,
    pub(super) order_id: Uuid,
    pub(super) amount_minor: i64,
    pub(super) currency: String,
    pub(super) state: String,
    pub(super) subject: String,
    pub(super) captured_minor: i64,
    pub(super) refunded_minor: i64,
    pub(super) refund_reserved_minor: i64,
    pub(super) create_time: jiff_sqlx::Timestamp,
    pub(super) expire_time: jiff_sqlx::Timestamp,
    pub(super) pay_time: Option<jiff_sqlx::Timestamp>,
}

pub(super) struct AttemptRow {
    pub(super) attempt_id: Uuid,
    pub(super) channel_account_id: Uuid,
    pub(super) channel: String,
    pub(super) method: String,
    pub(super) state: String,
    pub(super) in_doubt: bool,
    pub(super) routing_reason: String,
    pub(super) qr_code: Option<String>,
    pub(super) next_action: Option<Value>,
    pub(super) refs: Value,
    pub(super) input: Option<Value>,
    pub(super) problem: Option<String>,
    pub(super) channel_transaction_id: Option<String>,
    pub(super) failure_reason: Option<String>,
    pub(super) failure_code: Option<String>,
    pub(super) create_time: jiff_sqlx::Timestamp,
    pub(super) tries: i32,
    pub(super) lease_until: Option<jiff_sqlx::Timestamp>,
    pub(super) traceparent: String,
}

/// A payment with one of its attempts. Read together in one statement, that is in one snapshot: a payment that was read
/// a moment before its attempts could show a combination that never was.
pub(super) struct JoinedRow {
    pub(super) merchant_id: Uuid,
    pub(super) payment_id: Uuid,
    pub(super) order_id: Uuid,
    pub(super) amount_minor: i64,
    pub(super) currency: String,
    pub(super) state: String,
    pub(super) subject: String,
    pub(super) captured_minor: i64,
    pub(super) refunded_minor: i64,
    pub(super) refund_reserved_minor: i64,
    pub(super) create_time: jiff_sqlx::Timestamp,
    pub(super) expire_time: jiff_sqlx::Timestamp,
    pub(super) pay_time: Option<jiff_sqlx::Timestamp>,
    pub(super) attempt_id: Uuid,
    pub(super) channel_account_id: Uuid,
    pub(super) channel: String,
    pub(super) method: String,
    pub(super) attempt_state: String,
    pub(super) in_doubt: bool,
    pub(super) routing_reason: String,
    pub(super) qr_code: Option<String>,
    pub(super) next_action: Option<Value>,
    pub(super) refs: Value,
    pub(super) input: Option<Value>,
    pub(super) problem: Option<String>,
    pub(super) channel_transaction_id: Option<String>,
    pub(super) failure_reason: Option<String>,
    pub(super) failure_code: Option<String>,
    pub(super) attempt_create_time: jiff_sqlx::Timestamp,
    pub(super) tries: i32,
    pub(super) lease_until: Option<jiff_sqlx::Timestamp>,
    pub(super) traceparent: String,
}

impl JoinedRow {
    fn split(self) -> (PaymentRow, AttemptRow) {
        let payment = PaymentRow {
            merchant_id: self.merchant_id,
            payment_id: self.payment_id,
            order_id: self.order_id,
            amount_minor: self.amount_minor,
            currency: self.currency,
            state: self.state,
            subject: self.subject,
            captured_minor: self.captured_minor,
            refunded_minor: self.refunded_minor,
            refund_reserved_minor: self.refund_reserved_minor,
            create_time: self.create_time,
            expire_time: self.expire_time,
            pay_time: self.pay_time,
        };
        let attempt = AttemptRow {
            attempt_id: self.attempt_id,
            channel_account_id: self.channel_account_id,
            channel: self.channel,
            method: self.method,
            state: self.attempt_state,
            in_doubt: self.in_doubt,
            routing_reason: self.routing_reason,
            qr_code: self.qr_code,
            next_action: self.next_action,
            refs: self.refs,
            input: self.input,
            problem: self.problem,
            channel_transaction_id: self.channel_transaction_id,
            failure_reason: self.failure_reason,
            failure_code: self.failure_code,
            create_time: self.attempt_create_time,
            tries: self.tries,
            lease_until: self.lease_until,
            traceparent: self.traceparent,
        };
        (payment, attempt)
    }
}

/// Puts the attempts of each payment together. The rows must come payment by payment.
pub(super) fn assemble(rows: Vec<JoinedRow>) -> Result<Vec<Payment>, InconsistentRow> {
    let mut groups: Vec<(PaymentRow, Vec<Attempt>)> = Vec::new();
    for row in rows {
        let (payment, attempt) = row.split();
        let attempt = Attempt::try_from(attempt)?;
        match groups.last_mut() {
            Some((last, attempts)) if last.payment_id == payment.payment_id => attempts.push(attempt),
            Some(_) | None => groups.push((payment, vec![attempt])),
        }
    }
    groups.into_iter().map(|(payment, attempts)| payment.into_payment(attempts)).collect()
}

impl PaymentRow {
    pub(super) fn into_payment(self, attempts: Vec<Attempt>) -> Result<Payment, InconsistentRow> {
        let id = PaymentId::from_uuid(self.payment_id);
        let row = id.to_string();
        let inconsistent =
            |column, problem: String| InconsistentRow { table: "payment", column, row: row.clone(), problem };
        if attempts.is_empty() {
            return Err(inconsistent("payment_id", "no attempt".to_owned()));
        }
        let state = match (self.state.as_str(), self.pay_time) {
            ("created", None) => PaymentState::Created,
            ("pending", None) => PaymentState::Pending,
            ("succeeded", Some(at)) => PaymentState::Succeeded { pay_time: at.to_jiff() },
            ("closed", None) => PaymentState::Closed,
            ("failed", None) => PaymentState::Failed,
            (state, pay_time) => {
                return Err(inconsistent("state", format!("{state:?} with pay_time {pay_time:?}")));
            }
        };
        let amount = |minor| money("payment", &row, minor, &self.currency);
        Ok(Payment {
            merchant_id: MerchantId::from_uuid(self.merchant_id),
            id,
            order_id: OrderId::from_uuid(self.order_id),
            amount: amount(self.amount_minor)?,
            state,
            captured: amount(self.captured_minor)?,
            refunded: amount(self.refunded_minor)?,
            refund_reserved: amount(self.refund_reserved_minor)?,
            subject: self.subject,
            create_time: self.create_time.to_jiff(),
            expire_time: self.expire_time.to_jiff(),
            attempts,
        })
    }
}

impl TryFrom<AttemptRow> for Attempt {
    type Error = InconsistentRow;

    fn try_from(row: AttemptRow) -> Result<Self, InconsistentRow> {
        let id = AttemptId::from_uuid(row.attempt_id);
        let name = id.to_string();
        // What the build before made has only the code.
        let action = match (row.next_action, row.qr_code) {
            (Some(stored), _) => Some(json("next_action", &name, stored)?),
            (None, code) => code.map(|text| NextAction::QrCode { text }),
        };
        let state = match (row.state.as_str(), action) {
            ("initiated", None) => AttemptState::Initiated,
            ("pending", Some(action)) => AttemptState::Pending { action },
            ("succeeded", _) => AttemptState::Succeeded,
            ("closed", _) => AttemptState::Closed,
            ("failed", _) => AttemptState::Failed(failure(
                "attempt",
                &name,
                row.failure_reason.as_deref(),
                row.failure_code,
            )?),
            (state, _) => return Err(unknown("attempt", "state", &name, state)),
        };
        Ok(Self {
            id,
            channel: ChannelName::new(&row.channel),
            channel_account_id: ChannelAccountId::from_uuid(row.channel_account_id),
            method: method("attempt", &name, &row.method)?,
            state,
            in_doubt: row.in_doubt,
            routing_reason: row.routing_reason,
            problem: row.problem,
            input: row.input.map(|stored| json("input", &name, stored)).transpose()?.unwrap_or_default(),
            refs: row.refs,
            channel_transaction_id: row.channel_transaction_id,
            create_time: row.create_time.to_jiff(),
            schedule: Schedule {
                tries: row.tries,
                lease_until: row.lease_until.map(jiff_sqlx::Timestamp::to_jiff),
            },
            traceparent: row.traceparent,
        })
    }
}

fn json<T: DeserializeOwned>(column: &'static str, row: &str, stored: Value) -> Result<T, InconsistentRow> {
    serde_json::from_value(stored).map_err(|error| InconsistentRow {
        table: "attempt",
        column,
        row: row.to_owned(),
        problem: error.to_string(),
    })
}
