//! Integrity alerts: what a channel says, verified, and what our record says do not agree.

use jiff::Timestamp;
use serde_json::Value;
use tael_ids::{IntegrityAlertId, MerchantId, PaymentId};
use tael_money::Money;

use super::payment::Payment;

/// One thing that does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    /// `amount`, or a field of the account's identity.
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
