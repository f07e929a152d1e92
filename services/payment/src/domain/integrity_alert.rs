//! Integrity alerts: what a channel says, verified, and what our record says do not agree.

use jiff::Timestamp;
use tael_ids::{IntegrityAlertId, MerchantId, PaymentId};
use tael_money::Money;

use super::channel_account::Identity;
use super::payment::Payment;

/// What does not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AssertedField {
    Amount,
    AppId,
    SellerId,
}

impl AssertedField {
    /// The name it has in the table and on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Amount => "amount",
            Self::AppId => "app_id",
            Self::SellerId => "seller_id",
        }
    }
}

/// One thing that does not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) field: AssertedField,
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
    pub(crate) app_id: Option<String>,
    pub(crate) seller_id: Option<String>,
}

/// Compares what a channel's message says with our own record.
pub(crate) fn mismatches(payment: &Payment, identity: &Identity, claim: &Assertion) -> Vec<Mismatch> {
    let Identity::Alipay(ours) = identity;
    let compared = [
        (AssertedField::Amount, payment.amount.to_string(), claim.amount.map(|amount| amount.to_string())),
        (AssertedField::AppId, ours.app_id.clone(), claim.app_id.clone()),
        (AssertedField::SellerId, ours.seller_id.clone(), claim.seller_id.clone()),
    ];
    compared
        .into_iter()
        .filter_map(|(field, expected, actual)| Some((field, expected, actual?)))
        .filter(|(_, expected, actual)| expected != actual)
        .map(|(field, expected, actual)| Mismatch { field, expected, actual })
        .collect()
}
