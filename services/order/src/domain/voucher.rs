//! Vouchers and their redemption.

use jiff::Timestamp;
use tael_ids::{LineId, OrderId, RedemptionId, VoucherId};

use super::code::VoucherCode;

/// An electronic voucher for a paid line. `redeemed` + `voided` ≤ `uses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Voucher {
    pub(crate) id: VoucherId,
    pub(crate) order_id: OrderId,
    pub(crate) line_id: LineId,
    pub(crate) code: VoucherCode,
    /// How often it can be redeemed in all.
    pub(crate) uses: u32,
    pub(crate) redeemed: u32,
    /// Taken back by refunds.
    pub(crate) voided: u32,
    pub(crate) issue_time: Timestamp,
}

impl Voucher {
    /// How often it can still be redeemed.
    pub(crate) fn uses_left(&self) -> u32 {
        self.uses.saturating_sub(self.redeemed).saturating_sub(self.voided)
    }

    /// Takes back the uses that a refund pays for, as far as they were not redeemed.
    pub(crate) fn void(&mut self, refunded: Refunded) {
        let wanted = match refunded {
            Refunded::Units(units) => units,
            Refunded::All => self.uses,
        };
        self.voided += wanted.min(self.uses_left());
    }
}

/// How much of a voucher's line was refunded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refunded {
    /// So many units.
    Units(u32),
    /// The whole order.
    All,
}

/// A redemption to be made.
#[derive(Clone, Debug)]
pub(crate) struct NewRedemption {
    pub(crate) code: VoucherCode,
    /// Above zero.
    pub(crate) count: u32,
    pub(crate) terminal: String,
    pub(crate) operator: String,
}

/// A redemption that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redemption {
    pub(crate) id: RedemptionId,
    /// The voucher as it was right after it.
    pub(crate) voucher: Voucher,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voucher(uses: u32, redeemed: u32, voided: u32) -> Voucher {
        Voucher {
            id: VoucherId::new(),
            order_id: OrderId::new(),
            line_id: LineId::new(),
            code: VoucherCode::generate().unwrap(),
            uses,
            redeemed,
            voided,
            issue_time: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn refunds_take_back_what_was_not_redeemed() {
        let table = [
            // uses, redeemed, voided, refunded -> voided
            (5, 0, 0, Refunded::Units(2), 2),
            (5, 4, 0, Refunded::Units(2), 1),
            (5, 5, 0, Refunded::Units(1), 0),
            (5, 1, 2, Refunded::Units(9), 4),
            (5, 0, 0, Refunded::All, 5),
            (5, 2, 1, Refunded::All, 3),
            (5, 5, 0, Refunded::All, 0),
        ];
        for (uses, redeemed, voided, refunded, expected) in table {
            let mut voucher = voucher(uses, redeemed, voided);
            voucher.void(refunded);
            assert_eq!(voucher.voided, expected, "{uses} {redeemed} {voided} {refunded:?}");
            assert_eq!(voucher.uses_left(), uses - redeemed - expected);
        }
    }
}
