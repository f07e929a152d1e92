//! The movements of merchants' money at a channel: what a test compares its books with.

use std::collections::HashMap;

use jiff::Timestamp;

use crate::control::messages::{MovementKind, MovementView};

/// A merchant's money at the channel would be more than can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the merchant's balance at the channel would be larger than can be counted")]
pub struct BalanceOverflow;

/// A movement to be booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movement {
    /// Whose money.
    pub merchant: String,
    /// Why.
    pub kind: MovementKind,
    /// The currency, ISO 4217.
    pub currency: &'static str,
    /// Minor units; positive flows to the merchant.
    pub amount_minor: i64,
    /// The channel's number of the trade.
    pub trade_no: String,
    /// The merchant's number of the trade.
    pub out_trade_no: String,
    /// The number of the refund, for refunds and returned fees.
    pub refund_no: Option<String>,
}

/// All movements of a channel, in the order they happened, and the balances they make.
#[derive(Debug, Default)]
pub struct Movements {
    booked: Vec<MovementView>,
    balances: HashMap<(String, &'static str), i64>,
}

impl Movements {
    /// Books movements that belong together, all or none; those of nothing are left out.
    pub fn book(&mut self, movements: &[Movement], now: Timestamp) -> Result<(), BalanceOverflow> {
        let mut balances = HashMap::new();
        for movement in movements {
            let account = (movement.merchant.clone(), movement.currency);
            let before = balances.get(&account).or_else(|| self.balances.get(&account)).copied();
            let after = before.unwrap_or(0).checked_add(movement.amount_minor).ok_or(BalanceOverflow)?;
            balances.insert(account, after);
        }
        self.balances.extend(balances);
        for movement in movements.iter().filter(|movement| movement.amount_minor != 0) {
            self.booked.push(MovementView {
                sequence: self.booked.len() as u64 + 1,
                at: now,
                merchant: movement.merchant.clone(),
                kind: movement.kind,
                currency: movement.currency.to_owned(),
                amount_minor: movement.amount_minor,
                trade_no: movement.trade_no.clone(),
                out_trade_no: movement.out_trade_no.clone(),
                refund_no: movement.refund_no.clone(),
            });
        }
        Ok(())
    }

    /// The movements, oldest first; a movement's position is its sequence number less one.
    pub fn all(&self) -> &[MovementView] {
        &self.booked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn movement(merchant: &str, amount_minor: i64) -> Movement {
        Movement {
            merchant: merchant.to_owned(),
            kind: MovementKind::Payment,
            currency: "CNY",
            amount_minor,
            trade_no: "t".to_owned(),
            out_trade_no: "o".to_owned(),
            refund_no: None,
        }
    }

    #[test]
    fn movements_that_overflow_a_balance_are_booked_not_even_in_part() {
        let now = "2026-03-01T04:00:00Z".parse().unwrap();
        let mut movements = Movements::default();
        movements.book(&[movement("a", i64::MAX - 1), movement("a", 0)], now).unwrap();
        assert_eq!(movements.book(&[movement("a", 1), movement("a", 1)], now), Err(BalanceOverflow));
        assert_eq!(movements.book(&[movement("b", i64::MIN), movement("b", -1)], now), Err(BalanceOverflow));
        assert_eq!(movements.all().len(), 1);
        movements.book(&[movement("a", 1), movement("b", 5)], now).unwrap();
        let sequence: Vec<_> = movements.all().iter().map(|movement| movement.sequence).collect();
        assert_eq!(sequence, [1, 2, 3]);
    }
}
