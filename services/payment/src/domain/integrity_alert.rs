//! Integrity alerts: what a channel says, verified, and what our record says do not agree.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tael_ids::{IntegrityAlertId, MerchantId, PaymentId};
use tael_money::Money;

use super::evidence::Paid;
use super::payment::{Attempt, Payment};

/// How far the clocks of a channel and of ours may be apart: far enough for one that stands in another time zone by mistake.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_hours(24);

/// One thing that does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// `amount`, `channel_transaction_id`, `pay_time`, or a field of the account's identity.
    pub(crate) field: String,
    pub(crate) expected: String,
    pub(crate) actual: String,
}

/// A mismatch that was recorded.
#[derive(Clone, Debug)]
pub(crate) struct IntegrityAlert {
    pub(crate) merchant_id: MerchantId,
    pub(crate) id: IntegrityAlertId,
    pub(crate) payment_id: PaymentId,
    pub(crate) mismatch: Mismatch,
    pub(crate) create_time: Timestamp,
}

/// What a channel's message says of things that we know ourselves. What it does not say is not compared: the answer to
/// a query names no application and no seller, for it was asked in their name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assertion {
    pub(crate) amount: Option<Money>,
    /// Fields of the account's identity, with the values that the message names.
    pub(crate) identity: Vec<(&'static str, String)>,
}

/// Compares what a channel's message says with our own record.
pub(crate) fn mismatches(payment: &Payment, identity: &Value, claim: &Assertion) -> Vec<Mismatch> {
    let amount = claim.amount.map(|amount| ("amount", payment.amount.to_string(), amount.to_string()));
    let fields = claim.identity.iter().map(|(field, actual)| {
        let expected = identity.get(field).and_then(Value::as_str).unwrap_or_default();
        (*field, expected.to_owned(), actual.clone())
    });
    amount
        .into_iter()
        .chain(fields)
        .filter(|(_, expected, actual)| expected != actual)
        .map(|(field, expected, actual)| Mismatch { field: field.to_owned(), expected, actual })
        .collect()
}

/// Compares what a channel says of money with what it said before of the same attempt: two transactions are money that came
/// twice, or a message about somebody else's.
pub(crate) fn other_transaction(attempt: &Attempt, paid: &Paid) -> Option<Mismatch> {
    let expected = attempt.channel_transaction_id.clone()?;
    let actual = paid.channel_transaction_id.clone();
    let field = "channel_transaction_id".to_owned();
    (expected != actual).then_some(Mismatch { field, expected, actual })
}

/// Says what is wrong with a time of payment: before the attempt began, or in the future.
pub(crate) fn impossible_pay_time(attempt: &Attempt, paid: &Paid, now: Timestamp) -> Option<Mismatch> {
    let after = paid.pay_time.duration_since(attempt.create_time);
    let ahead = paid.pay_time.duration_since(now);
    (after < -CLOCK_TOLERANCE || ahead > CLOCK_TOLERANCE).then(|| Mismatch {
        field: "pay_time".to_owned(),
        expected: format!("after {}", attempt.create_time),
        actual: paid.pay_time.to_string(),
    })
}
