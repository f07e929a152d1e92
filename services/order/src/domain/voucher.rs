//! Vouchers and their redemption.

use jiff::Timestamp;
use tael_ids::{LineId, MerchantId, OrderId, RedemptionId, RefundId, VoucherId};

use super::code::VoucherCode;

/// An electronic voucher for a paid line. `redeemed` + `reserved` + `voided` ≤ `uses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Voucher {
    pub(crate) id: VoucherId,
    pub(crate) order_id: OrderId,
    pub(crate) line_id: LineId,
    pub(crate) code: VoucherCode,
    /// How often it can be redeemed in all.
    pub(crate) uses: u32,
    pub(crate) redeemed: u32,
    /// Set aside for refunds that have not ended.
    pub(crate) reserved: u32,
    /// Taken back by refunds.
    pub(crate) voided: u32,
    pub(crate) issue_time: Timestamp,
}

impl Voucher {
    /// How often it can still be redeemed.
    pub(crate) fn uses_left(&self) -> u32 {
        self.uses.saturating_sub(self.redeemed).saturating_sub(self.reserved).saturating_sub(self.voided)
    }

    /// Takes back the uses that a refund pays for, as far as they were not redeemed or set aside.
    pub(crate) fn void(&mut self, refunded: Refunded) {
        let wanted = match refunded {
            Refunded::Units(units) => units,
            Refunded::All => self.uses,
        };
        self.voided += wanted.min(self.uses_left());
    }

    /// Sets aside what a refund takes of the voucher; `refunded_used` of its used units were refunded before. Returns what
    /// that is, none when it is nothing.
    pub(crate) fn reserve(&mut self, refunded: Refunded, refunded_used: u32) -> Option<ReservedUses> {
        let left = self.uses_left();
        let (voucher_id, line_id) = (self.id, self.line_id);
        let reserved = match refunded {
            Refunded::Units(units) => {
                ReservedUses { voucher_id, line_id, uses: units.min(left), used: units.saturating_sub(left) }
            }
            Refunded::All => {
                let used = self.redeemed.saturating_sub(refunded_used);
                ReservedUses { voucher_id, line_id, uses: left, used }
            }
        };
        if reserved.uses == 0 && reserved.used == 0 {
            return None;
        }
        self.reserved += reserved.uses;
        Some(reserved)
    }

    /// Lets uses be redeemed again that had been set aside for a refund.
    pub(crate) fn release(&mut self, reserved: ReservedUses) {
        self.reserved = self.reserved.saturating_sub(reserved.uses);
    }

    /// Takes back uses that had been set aside for a refund.
    pub(crate) fn take_back(&mut self, reserved: ReservedUses) {
        let uses = reserved.uses.min(self.reserved);
        self.reserved -= uses;
        self.voided += uses;
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

/// What a refund covers.
#[derive(Clone, Debug)]
pub(crate) struct RefundScope {
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    pub(crate) refund_id: RefundId,
    /// No line twice; empty when it is not by line.
    pub(crate) lines: Vec<(LineId, u32)>,
    /// Whether it takes all that is left of the order's money.
    pub(crate) everything: bool,
    /// Why units that were used are refunded all the same; none when they are not to be.
    pub(crate) force_reason: Option<String>,
}

impl RefundScope {
    /// How much it covers of a line; none when nothing.
    pub(crate) fn of(&self, line_id: LineId) -> Option<Refunded> {
        if self.everything {
            return Some(Refunded::All);
        }
        self.lines.iter().find(|(line, _)| *line == line_id).map(|&(_, units)| Refunded::Units(units))
    }
}

/// What a refund takes of one voucher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReservedUses {
    pub(crate) voucher_id: VoucherId,
    pub(crate) line_id: LineId,
    /// Uses that are set aside.
    pub(crate) uses: u32,
    /// Units that are refunded although they had been used.
    pub(crate) used: u32,
}

/// What a refund takes of its order's vouchers.
///
/// ```text
///  reserved ─▶ taken_back    the refund succeeded
///      └─────▶ released      it will not happen
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reservation {
    pub(crate) refund_id: RefundId,
    pub(crate) order_id: OrderId,
    pub(crate) state: ReservationState,
    pub(crate) uses: Vec<ReservedUses>,
    pub(crate) force_reason: Option<String>,
}

/// What became of uses that were set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReservationState {
    Reserved,
    Released,
    TakenBack,
}

impl ReservationState {
    /// The state's name, as it is stored and shown in errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reserved => "reserved",
            Self::Released => "released",
            Self::TakenBack => "taken_back",
        }
    }
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

/// Uses to be taken back without a refund.
#[derive(Clone, Debug)]
pub(crate) struct NewVoid {
    pub(crate) voucher_id: VoucherId,
    /// Above zero; all that are left when none.
    pub(crate) count: Option<u32>,
    pub(crate) reason: String,
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

    fn voucher(uses: u32, redeemed: u32, reserved: u32, voided: u32) -> Voucher {
        Voucher {
            id: VoucherId::new(),
            order_id: OrderId::new(),
            line_id: LineId::new(),
            code: VoucherCode::generate().unwrap(),
            uses,
            redeemed,
            reserved,
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
            let mut voucher = voucher(uses, redeemed, 0, voided);
            voucher.void(refunded);
            assert_eq!(voucher.voided, expected, "{uses} {redeemed} {voided} {refunded:?}");
            assert_eq!(voucher.uses_left(), uses - redeemed - expected);
        }
    }

    #[test]
    fn a_refund_sets_aside_what_is_left_and_names_what_was_used() {
        let table = [
            // uses, redeemed, reserved, voided, used units refunded before, refunded -> uses set aside, used
            (5, 0, 0, 0, 0, Refunded::Units(2), Some((2, 0))),
            (5, 4, 0, 0, 0, Refunded::Units(2), Some((1, 1))),
            (5, 2, 3, 0, 0, Refunded::Units(1), Some((0, 1))),
            (5, 0, 2, 3, 0, Refunded::Units(1), Some((0, 1))),
            (5, 0, 0, 0, 0, Refunded::All, Some((5, 0))),
            (5, 2, 1, 1, 0, Refunded::All, Some((1, 2))),
            (5, 2, 1, 1, 2, Refunded::All, Some((1, 0))),
            (5, 2, 0, 3, 2, Refunded::All, None),
            (5, 0, 5, 0, 0, Refunded::All, None),
        ];
        for (uses, redeemed, reserved, voided, before, refunded, expected) in table {
            let mut voucher = voucher(uses, redeemed, reserved, voided);
            let taken = voucher.reserve(refunded, before);
            assert_eq!(taken.map(|taken| (taken.uses, taken.used)), expected, "{voucher:?} {refunded:?}");
            let Some(taken) = taken else { continue };
            assert_eq!(voucher.reserved, reserved + taken.uses);
            let mut released = voucher.clone();
            released.release(taken);
            assert_eq!((released.reserved, released.voided), (reserved, voided));
            voucher.take_back(taken);
            assert_eq!((voucher.reserved, voucher.voided), (reserved, voided + taken.uses));
        }
    }
}
