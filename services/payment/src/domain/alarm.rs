//! Alarms: what a channel says, verified, and what our record says do not agree.

use jiff::Timestamp;
use tael_ids::{AlarmId, MerchantId, PaymentId};

use super::account::Identity;
use super::evidence::Paid;
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

/// Compares what the channel says it was paid with our own record. What the channel did not say is not compared: the
/// answer to a query names no application and no seller, for it was asked in their name.
pub(crate) fn contradictions(payment: &Payment, identity: &Identity, paid: &Paid) -> Vec<Contradiction> {
    let Identity::Alipay(ours) = identity;
    let mut found = Vec::new();
    if paid.amount != payment.amount {
        found.push(Contradiction {
            field: AlarmField::Amount,
            expected: payment.amount.to_string(),
            actual: paid.amount.to_string(),
        });
    }
    let named = [
        (AlarmField::AppId, &ours.app_id, &paid.app_id),
        (AlarmField::SellerId, &ours.seller_id, &paid.seller_id),
    ];
    for (field, expected, actual) in named {
        if let Some(actual) = actual
            && actual != expected
        {
            found.push(Contradiction { field, expected: expected.clone(), actual: actual.clone() });
        }
    }
    found
}
