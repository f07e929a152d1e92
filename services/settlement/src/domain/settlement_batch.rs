//! Settlement batches and their statements.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tael_ids::{BatchId, MerchantId, PaymentId, RefundId, TransferId};
use tael_money::{Money, MoneyError};

use crate::domain::ledger::transfer::TransferKind;

/// What one settlement owes a merchant, of the kinds of transfers that have sums of their own: `gross` − `refunds` − `fees` + `fees_returned` − `held` + `released` = `net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) id: BatchId,
    pub(crate) merchant_id: MerchantId,
    pub(crate) cut_off_time: Timestamp,
    pub(crate) payment_count: u32,
    pub(crate) refund_count: u32,
    pub(crate) gross: Money,
    pub(crate) refunds: Money,
    pub(crate) fees: Money,
    pub(crate) fees_returned: Money,
    /// Put into suspense.
    pub(crate) held: Money,
    /// Taken out of suspense.
    pub(crate) released: Money,
    /// Negative when what goes outweighs what comes.
    pub(crate) net: Money,
    pub(crate) close_time: Timestamp,
    /// All that it takes.
    pub(crate) lines: Vec<BatchLine>,
}

/// The sum of one component of one kind of transfer in a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchLine {
    pub(crate) kind: TransferKind,
    /// By name: a newer build may know more of them.
    pub(crate) component: String,
    pub(crate) transfer_count: u32,
    pub(crate) amount: Money,
}

/// One movement in a merchant's statement, with the signs that the merchant reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatementLine {
    pub(crate) kind: TransferKind,
    pub(crate) transfer_id: TransferId,
    pub(crate) payment_id: PaymentId,
    /// For a refund only.
    pub(crate) refund_id: Option<RefundId>,
    /// What the channel pays out, or what was released: positive; what it takes back, or what was held: negative.
    pub(crate) amount: Money,
    /// What a coupon of the merchant's own took off the price, which is not in the amount; none where there was none.
    pub(crate) coupon: Option<Money>,
    /// Negative when charged, positive when given back.
    pub(crate) fee: Money,
    pub(crate) occur_time: Timestamp,
}

impl StatementLine {
    /// What the movement means for the merchant.
    pub(crate) fn net(&self) -> Result<Money, MoneyError> {
        self.amount.checked_add(self.fee)
    }
}

/// The beginning of the day of `now` by this zone's calendar: what a batch takes when no cut-off is given.
pub(crate) fn beginning_of_day(now: Timestamp, zone: TimeZone) -> Result<Timestamp, jiff::Error> {
    Ok(now.to_zoned(zone).start_of_day()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn days_begin_by_the_merchants_clock() {
        let table = [
            ("Asia/Shanghai", "2026-11-21T15:59:59Z", "2026-11-20T16:00:00Z"),
            ("Asia/Shanghai", "2026-11-21T16:00:00Z", "2026-11-21T16:00:00Z"),
            ("UTC", "2026-11-21T16:00:00Z", "2026-11-21T00:00:00Z"),
            // The clocks went forward at midnight: the day began at 01:00.
            ("America/Santiago", "2026-09-06T12:00:00Z", "2026-09-06T04:00:00Z"),
        ];
        for (zone, now, begin) in table {
            let zone = TimeZone::get(zone).unwrap();
            assert_eq!(beginning_of_day(at(now), zone.clone()).unwrap(), at(begin), "{zone:?} {now}");
        }
    }
}
