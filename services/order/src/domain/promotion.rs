//! Promotions: spend X, save Y.

use jiff::Timestamp;
use tael_ids::{MerchantId, PromotionId};
use tael_money::Money;

/// When an order's items reach the threshold, the saving is taken off once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Promotion {
    pub(crate) id: PromotionId,
    pub(crate) merchant_id: MerchantId,
    pub(crate) name: String,
    pub(crate) threshold: Money,
    /// In the threshold's currency and not more than it.
    pub(crate) saving: Money,
    pub(crate) create_time: Timestamp,
    /// None while it applies.
    pub(crate) end_time: Option<Timestamp>,
}

/// What of a promotion matters to a price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) id: PromotionId,
    pub(crate) threshold: Money,
    pub(crate) saving: Money,
}

impl Offer {
    /// Whether these items reach the threshold.
    pub(crate) fn applies_to(&self, items: Money) -> bool {
        self.threshold.try_cmp(items).is_ok_and(std::cmp::Ordering::is_le)
    }
}
