//! Coupons and what they leave of a payment: who pays how much of a total.

use super::money::{Fen, share};

/// Who pays for a coupon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FundedBy {
    /// The seller, who receives less.
    Seller,
    /// Alipay, which pays the seller in the buyer's place.
    Alipay,
}

/// A coupon that a payment was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Coupon {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) amount: Fen,
    pub(super) funded_by: FundedBy,
}

impl Coupon {
    /// The channel's name of the fund (Alipay open platform: `fund_bill_list`, `fundChannel`).
    pub(super) fn fund_channel(&self) -> &'static str {
        match self.funded_by {
            FundedBy::Seller => "MDISCOUNT",
            FundedBy::Alipay => "DISCOUNT",
        }
    }
}

/// An amount of a trade by who bears it. The parts add up to the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Split {
    /// The part of the order's price.
    pub(super) total: Fen,
    /// What the seller's coupon bears of it.
    pub(super) seller: Fen,
    /// What Alipay's coupon bears of it.
    pub(super) alipay: Fen,
}

impl Split {
    /// The whole price of an order.
    pub(super) fn whole(total: Fen, coupon: Option<&Coupon>) -> Self {
        let (seller, alipay) = match coupon {
            None => (Fen::ZERO, Fen::ZERO),
            Some(coupon) => match coupon.funded_by {
                FundedBy::Seller => (coupon.amount, Fen::ZERO),
                FundedBy::Alipay => (Fen::ZERO, coupon.amount),
            },
        };
        Self { total, seller, alipay }
    }

    /// The share of the first `part` of the price; the same for every way to come to it, so that partial amounts add up.
    pub(super) fn first(self, part: Fen) -> Self {
        Self {
            total: part,
            seller: share(self.seller, part.0, self.total.0),
            alipay: share(self.alipay, part.0, self.total.0),
        }
    }

    /// What is between two such shares.
    pub(super) fn less(self, earlier: Self) -> Self {
        Self {
            total: self.total - earlier.total,
            seller: self.seller - earlier.seller,
            alipay: self.alipay - earlier.alipay,
        }
    }

    /// What the seller receives (or gives back): all but its own coupon.
    pub(super) fn received(self) -> Fen {
        self.total - self.seller
    }

    /// What the buyer pays (or gets back): all but the coupons.
    pub(super) fn by_buyer(self) -> Fen {
        self.total - self.seller - self.alipay
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn coupon(amount: i64, funded_by: FundedBy) -> Coupon {
        Coupon { id: "1".to_owned(), name: "满100减5".to_owned(), amount: Fen(amount), funded_by }
    }

    #[test]
    fn who_bears_what() {
        let whole = Split::whole(Fen(10_000), Some(&coupon(500, FundedBy::Seller)));
        assert_eq!((whole.received(), whole.by_buyer()), (Fen(9_500), Fen(9_500)));
        let whole = Split::whole(Fen(10_000), Some(&coupon(500, FundedBy::Alipay)));
        assert_eq!((whole.received(), whole.by_buyer()), (Fen(10_000), Fen(9_500)));
        let third = Split::whole(Fen(10_000), Some(&coupon(500, FundedBy::Seller))).first(Fen(3_333));
        assert_eq!((third.seller, third.received()), (Fen(167), Fen(3_166)));
    }

    proptest! {
        /// However an order is refunded, no part is negative and all parts are back at the end.
        #[test]
        fn partial_shares_add_up(total in 1..=10_000_000i64, part in 1..=10_000_000i64, cuts in prop::collection::vec(1..=10_000_000i64, 0..9)) {
            let whole = Split::whole(Fen(total), Some(&coupon(part % total, FundedBy::Seller)));
            let mut before = whole.first(Fen::ZERO);
            for cut in cuts {
                let next = (before.total.0 + cut % (total + 1)).min(total);
                let after = whole.first(Fen(next));
                let piece = after.less(before);
                prop_assert!(piece.seller >= Fen::ZERO && piece.by_buyer() >= Fen::ZERO, "{piece:?}");
                before = after;
            }
            prop_assert_eq!(whole.first(Fen(total)), whole);
        }
    }
}
