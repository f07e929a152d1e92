//! Rows of `payment` and `attempt`, and the domain values that they stand for.

use tael_ids::{AttemptId, ChannelAccountId, MerchantId, OrderId, PaymentId};
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use super::super::{channel, failure, method, money, unknown};
use crate::domain::payment::{Attempt, AttemptState, Payment, PaymentState, Schedule};

pub(super) struct PaymentRow {
    pub(super) merchant_id: Uuid,
    pub(super) payment_id: Uuid,
    pub(super) order_id: Uuid,
    pub(super) amount_minor: i64,
    pub(super) currency: String,
    pub(super) state: String,
    pub(super) subject: String,
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
        let state = match (row.state.as_str(), row.qr_code) {
            ("initiated", None) => AttemptState::Initiated,
            ("pending", Some(qr_code)) => AttemptState::Pending { qr_code },
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
            channel: channel("attempt", &name, &row.channel)?,
            channel_account_id: ChannelAccountId::from_uuid(row.channel_account_id),
            method: method("attempt", &name, &row.method)?,
            state,
            in_doubt: row.in_doubt,
            routing_reason: row.routing_reason,
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
