//! How much a refund takes of what is left of an order.

use tael_ids::LineId;
use tael_money::{Money, prorate_cumulative};

use super::RefundedLine;

/// How much is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything that is left.
    Full,
    /// An amount above zero.
    Amount(Money),
    /// Units of lines; no line twice.
    Lines(Vec<LineQuantity>),
}

/// A number of units of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineQuantity {
    pub(crate) line_id: LineId,
    /// At least 1.
    pub(crate) quantity: u32,
}

/// What refunds have taken of a line. Refunds that ended without money have given back what they took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineBalance {
    pub(crate) line_id: LineId,
    /// How many units were bought.
    pub(crate) quantity: u32,
    /// What was paid for them.
    pub(crate) total: Money,
    /// How many units were taken.
    pub(crate) taken: u32,
    /// What these were worth.
    pub(crate) taken_amount: Money,
}

/// What a refund takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Above zero.
    pub(crate) amount: Money,
    /// The lines it covers; empty when it is not by line.
    pub(crate) lines: Vec<RefundedLine>,
}

/// Why a refund can't take what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// The amount is in another currency than the order.
    #[error("the order is in another currency")]
    Currency {
        /// The order's.
        order: tael_money::Currency,
    },
    /// More than is left.
    #[error("more than is left of the order")]
    ExceedsOrder {
        /// What is left.
        left: Money,
    },
    /// The order has no such line.
    #[error("not a line of the order")]
    NoSuchLine {
        /// Which of the lines asked for, from 0.
        index: usize,
    },
    /// More units than are left.
    #[error("more units than are left of the line")]
    ExceedsLine {
        /// The line.
        line_id: LineId,
        /// The units that are left.
        left: u32,
    },
    /// The units asked for were free of charge.
    #[error("the lines are worth nothing")]
    WorthNothing,
}

/// Decides what a refund takes, given what is `left` of the order and, for a refund by line, all its lines.
pub(crate) fn share(scope: &Scope, left: Money, lines: &[LineBalance]) -> Result<Share, Refusal> {
    let share = match scope {
        Scope::Full => Share { amount: left, lines: Vec::new() },
        Scope::Amount(amount) => Share { amount: *amount, lines: Vec::new() },
        Scope::Lines(wanted) => by_line(wanted, left, lines)?,
    };
    if share.amount.currency() != left.currency() {
        return Err(Refusal::Currency { order: left.currency() });
    }
    if share.amount.minor() > left.minor() || left.is_zero() {
        return Err(Refusal::ExceedsOrder { left });
    }
    if share.amount.is_zero() {
        return Err(Refusal::WorthNothing);
    }
    Ok(share)
}

fn by_line(wanted: &[LineQuantity], left: Money, lines: &[LineBalance]) -> Result<Share, Refusal> {
    let mut taken = Vec::with_capacity(wanted.len());
    for (index, &LineQuantity { line_id, quantity }) in wanted.iter().enumerate() {
        let line = lines.iter().find(|l| l.line_id == line_id).ok_or(Refusal::NoSuchLine { index })?;
        taken.push(RefundedLine { line_id, quantity, amount: line.worth(quantity)? });
    }
    // Lines that add up to more than can be counted are more than is left.
    let amount = Money::sum(taken.iter().map(|l| l.amount), left.currency())
        .map_err(|_overflow| Refusal::ExceedsOrder { left })?;
    Ok(Share { amount, lines: taken })
}

impl LineBalance {
    /// Returns what the next units are worth: what brings the units taken to their share of the line's total.
    ///
    /// While no refund fails that is `prorate_cumulative` from unit to unit. After one has failed, the units still
    /// taken may be worth a minor unit more or less than an even share; the next refund makes up for it, so that all
    /// units together are worth exactly the line.
    fn worth(&self, quantity: u32) -> Result<Money, Refusal> {
        let units_left = self.quantity.saturating_sub(self.taken);
        if quantity > units_left {
            return Err(Refusal::ExceedsLine { line_id: self.line_id, left: units_left });
        }
        let after = i64::from(self.taken) + i64::from(quantity);
        let due = prorate_cumulative(self.total, 0, after, i64::from(self.quantity))
            .expect("0 <= after <= quantity, and a line has a unit");
        let missing = due.minor().saturating_sub(self.taken_amount.minor()).max(0);
        Ok(Money::new(missing, self.total.currency()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tael_money::Currency;
    use uuid::Uuid;

    use super::*;

    fn cny(minor: i64) -> Money {
        Money::new(minor, Currency::CNY)
    }

    fn line(number: u128, quantity: u32, total: i64) -> LineBalance {
        let line_id = LineId::from_uuid(Uuid::from_u128(number));
        LineBalance { line_id, quantity, total: cny(total), taken: 0, taken_amount: cny(0) }
    }

    fn units(line: &LineBalance, quantity: u32) -> LineQuantity {
        LineQuantity { line_id: line.line_id, quantity }
    }

    #[test]
    fn full_takes_what_is_left() {
        assert_eq!(share(&Scope::Full, cny(70), &[]).unwrap().amount, cny(70));
        assert_eq!(share(&Scope::Full, cny(0), &[]), Err(Refusal::ExceedsOrder { left: cny(0) }));
    }

    #[test]
    fn an_amount_has_the_orders_currency_and_ceiling() {
        assert_eq!(share(&Scope::Amount(cny(70)), cny(70), &[]).unwrap().amount, cny(70));
        assert_eq!(
            share(&Scope::Amount(cny(71)), cny(70), &[]),
            Err(Refusal::ExceedsOrder { left: cny(70) })
        );
        let dollars = Scope::Amount(Money::new(1, Currency::USD));
        assert_eq!(share(&dollars, cny(70), &[]), Err(Refusal::Currency { order: Currency::CNY }));
    }

    #[test]
    fn three_units_of_a_hundred_add_up() {
        let mut tee = line(1, 3, 100);
        let mut worth = Vec::new();
        for _ in 0..3 {
            let share = share(&Scope::Lines(vec![units(&tee, 1)]), cny(1000), &[tee]).unwrap();
            tee.taken += 1;
            tee.taken_amount = tee.taken_amount.checked_add(share.amount).unwrap();
            worth.push(share.amount.minor());
        }
        assert_eq!(worth, [33, 34, 33]);
        let more = share(&Scope::Lines(vec![units(&tee, 1)]), cny(1000), &[tee]);
        assert_eq!(more, Err(Refusal::ExceedsLine { line_id: tee.line_id, left: 0 }));
    }

    #[test]
    fn lines_can_be_refused() {
        let (tee, gift, other) = (line(1, 2, 100), line(2, 1, 0), line(3, 1, 5));
        let refused =
            |wanted: Vec<LineQuantity>, left| share(&Scope::Lines(wanted), left, &[tee, gift]).unwrap_err();
        assert_eq!(
            refused(vec![units(&tee, 1), units(&other, 1)], cny(99)),
            Refusal::NoSuchLine { index: 1 }
        );
        assert_eq!(refused(vec![units(&gift, 1)], cny(99)), Refusal::WorthNothing);
        assert_eq!(refused(vec![units(&tee, 2)], cny(99)), Refusal::ExceedsOrder { left: cny(99) });
        let all =
            share(&Scope::Lines(vec![units(&tee, 2), units(&gift, 1)]), cny(100), &[tee, gift]).unwrap();
        assert_eq!((all.amount, all.lines.len()), (cny(100), 2));
    }

    fn take(line: &mut LineBalance, quantity: u32) -> (u32, Money) {
        let amount = line.worth(quantity).unwrap();
        line.taken += quantity;
        line.taken_amount = line.taken_amount.checked_add(amount).unwrap();
        (quantity, amount)
    }

    proptest! {
        /// However units are taken and given back, they are never worth more than the line, and all of them are
        /// worth exactly the line.
        #[test]
        fn all_units_are_worth_the_line(
            quantity in 1_u32..50,
            total in 0_i64..10_000,
            steps in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..60),
        ) {
            let mut line = line(1, quantity, total);
            let mut live: Vec<(u32, Money)> = Vec::new();
            for (give_back, index) in steps {
                if give_back && !live.is_empty() {
                    let (units, amount) = live.swap_remove(index.index(live.len()));
                    line.taken -= units;
                    line.taken_amount = line.taken_amount.checked_sub(amount).unwrap();
                } else if line.taken < quantity {
                    let left = quantity - line.taken;
                    let wanted = 1 + u32::try_from(index.index(left as usize)).unwrap();
                    live.push(take(&mut line, wanted));
                }
                prop_assert!((0..=total).contains(&line.taken_amount.minor()));
            }
            if line.taken < quantity {
                let left = quantity - line.taken;
                take(&mut line, left);
            }
            prop_assert_eq!(line.taken_amount.minor(), total);
        }
    }
}
