//! Alarms: what a channel says, verified, and what our record says do not agree.

use jiff::Timestamp;
use tael_ids::{AlarmId, MerchantId, PaymentId};
use tael_money::Money;

use super::account::Identity;
use super::payment::Payment;

/// What does not agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlarmField {
    Amount,
    AppId,
    SellerId,
}

impl AlarmField {
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
pub(crate) struct Contradiction {
    pub(crate) field: AlarmField,
    pub(crate) expected: String,
    pub(crate) actual: String,
}

/// A contradiction that was recorded.
#[derive(Clone, Debug)]
pub(crate) struct Alarm {
    pub(crate) merchant_id: MerchantId,
    pub(crate) id: AlarmId,
    pub(crate) payment_id: PaymentId,
    pub(crate) contradiction: Contradiction,
    pub(crate) create_time: Timestamp,
}

/// What a channel's message says of things that we know ourselves. What it does not say is not compared: the answer to
/// a query names no application and no seller, for it was asked in their name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) amount: Option<Money>,
    pub(crate) app_id: Option<String>,
    pub(crate) seller_id: Option<String>,
}

/// Compares what a channel's message says with our own record.
pub(crate) fn contradictions(payment: &Payment, identity: &Identity, claim: &Claim) -> Vec<Contradiction> {
    let Identity::Alipay(ours) = identity;
    let compared = [
        (AlarmField::Amount, payment.amount.to_string(), claim.amount.map(|amount| amount.to_string())),
        (AlarmField::AppId, ours.app_id.clone(), claim.app_id.clone()),
        (AlarmField::SellerId, ours.seller_id.clone(), claim.seller_id.clone()),
    ];
    compared
        .into_iter()
        .filter_map(|(field, expected, actual)| Some((field, expected, actual?)))
        .filter(|(_, expected, actual)| expected != actual)
        .map(|(field, expected, actual)| Contradiction { field, expected, actual })
        .collect()
}
