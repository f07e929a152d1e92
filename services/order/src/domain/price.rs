//! What an order costs: a pure function of what is bought and of the promotions that apply.

use std::cmp::Reverse;

use tael_ids::PromotionId;
use tael_money::{Currency, Money, allocate};

use super::promotion::Offer;

/// The largest amount that an order may come to, in minor units: twelve digits are what channels have for an amount (ISO
/// 8583, field 4), so more could never be paid.
pub(crate) const MAX_AMOUNT_MINOR: i64 = 999_999_999_999;

/// Units of one thing at one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// Above zero.
    pub(crate) quantity: u32,
    /// The price of one unit before discounts; zero for what is free of charge.
    pub(crate) unit_price: Money,
}

/// What is to be priced: all of it in one currency, and in sum no more than can be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Basket {
    subtotals: Vec<Money>,
    items: Money,
    shipping: Money,
}

/// A part of a request that the price depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The line at this index.
    Line(usize),
    Shipping,
}

/// Why a request can't be priced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// Its currency is not that of the first line.
    Currency { part: Part, expected: Currency },
    /// With it the sum is more than [`MAX_AMOUNT_MINOR`].
    TooLarge { part: Part },
    /// There are no lines, or one whose quantity is zero or whose price is below zero, or shipping is below zero.
    OutOfRange { part: Part },
}

/// How an order's total came about: `items` − `discount` + `shipping` = `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Price {
    pub(crate) items: Money,
    pub(crate) discount: Money,
    pub(crate) shipping: Money,
    pub(crate) total: Money,
    /// What gave the discount; none if and only if that is zero.
    pub(crate) promotion_id: Option<PromotionId>,
}

/// One line's part in the price: `subtotal` − `discount` = `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinePrice {
    pub(crate) subtotal: Money,
    pub(crate) discount: Money,
    pub(crate) total: Money,
}

/// Adds an amount to a sum; none when that is more than an order may come to.
fn add(sum: Money, amount: Money) -> Option<Money> {
    sum.checked_add(amount).ok().filter(|sum| sum.minor() <= MAX_AMOUNT_MINOR)
}

impl Basket {
    /// Puts items and shipping (none for free) together; all that is wrong with them is returned at once.
    pub(crate) fn new(items: &[Item], shipping: Option<Money>) -> Result<Self, Vec<Problem>> {
        let Some(first) = items.first() else {
            return Err(vec![Problem::OutOfRange { part: Part::Line(0) }]);
        };
        let currency = first.unit_price.currency();
        let mut problems = Vec::new();
        let mut subtotals = Vec::with_capacity(items.len());
        let mut sum = Money::zero(currency);
        for (at, item) in items.iter().enumerate() {
            let part = Part::Line(at);
            if item.unit_price.currency() != currency {
                problems.push(Problem::Currency { part, expected: currency });
                continue;
            }
            if item.quantity == 0 || item.unit_price.is_negative() {
                problems.push(Problem::OutOfRange { part });
                continue;
            }
            let subtotal = item.unit_price.checked_mul(i64::from(item.quantity)).ok();
            match subtotal.and_then(|subtotal| Some((subtotal, add(sum, subtotal)?))) {
                Some((subtotal, new_sum)) => {
                    subtotals.push(subtotal);
                    sum = new_sum;
                }
                None => problems.push(Problem::TooLarge { part }),
            }
        }
        let shipping = shipping.unwrap_or(Money::zero(currency));
        let part = Part::Shipping;
        if shipping.currency() != currency {
            problems.push(Problem::Currency { part, expected: currency });
        } else if shipping.is_negative() {
            problems.push(Problem::OutOfRange { part });
        } else if add(sum, shipping).is_none() {
            problems.push(Problem::TooLarge { part });
        }
        if problems.is_empty() { Ok(Self { subtotals, items: sum, shipping }) } else { Err(problems) }
    }

    /// The one currency of everything in it.
    pub(crate) fn currency(&self) -> Currency {
        self.items.currency()
    }

    /// Prices the basket with the best of the offers: the largest saving whose threshold the items reach; of equal
    /// ones the oldest. The saving is divided among the lines in proportion to their subtotals, none of which gets
    /// more than its subtotal. The line prices are in the order of the items. Nothing may be left to pay.
    pub(crate) fn price(&self, offers: &[Offer]) -> (Price, Vec<LinePrice>) {
        let best = offers
            .iter()
            .filter(|offer| offer.applies_to(self.items))
            .max_by_key(|offer| (offer.saving.minor(), Reverse(offer.id)));
        let discount = best.map_or(Money::zero(self.currency()), |offer| offer.saving);
        let total = self
            .items
            .checked_sub(discount)
            .and_then(|rest| rest.checked_add(self.shipping))
            .expect("a saving is at most its threshold, and items and shipping were added up before");
        let shares = if discount.is_zero() {
            vec![discount; self.subtotals.len()]
        } else {
            let weights: Vec<i64> = self.subtotals.iter().map(|subtotal| subtotal.minor()).collect();
            allocate(discount, &weights).expect("items that reach a threshold are above zero")
        };
        let lines = self.subtotals.iter().zip(shares).map(|(&subtotal, discount)| LinePrice {
            subtotal,
            discount,
            // A share is within one unit of subtotal × discount / items ≤ subtotal, and whole numbers both.
            total: subtotal.checked_sub(discount).expect("a share of at most the whole fits"),
        });
        let price = Price {
            items: self.items,
            discount,
            shipping: self.shipping,
            total,
            promotion_id: best.map(|offer| offer.id),
        };
        (price, lines.collect())
    }
}

#[cfg(test)]
mod tests;
