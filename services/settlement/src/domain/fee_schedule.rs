//! What a merchant pays and what a channel costs.

use tael_money::{Money, Rate};

use crate::domain::channel::Channel;

/// The terms at one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeeSchedule {
    pub(crate) channel: Channel,
    pub(crate) terms: Terms,
}

/// The merchant's terms and the channel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    /// What the merchant pays us.
    pub(crate) fee: FeeTerms,
    /// What the channel is expected to keep; its statement is checked against it.
    pub(crate) channel_fee: FeeTerms,
}

/// The terms in force, and the version of the schedule that says so; none where there is no schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TermsInForce {
    pub(crate) version: Option<i64>,
    pub(crate) terms: Terms,
}

/// How a fee is reckoned. Amounts hold for payments in their currency; for others the rate alone does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FeeTerms {
    pub(crate) rate: Rate,
    pub(crate) fixed: Option<Money>,
    pub(crate) minimum: Option<Money>,
    pub(crate) maximum: Option<Money>,
    /// Whether a refund gives its share of the fee back.
    pub(crate) returned_on_refund: bool,
}

impl FeeTerms {
    /// Nothing.
    pub(crate) const NONE: Self = Self::rate(Rate::ZERO);

    /// A rate alone, which refunds give back.
    pub(crate) const fn rate(rate: Rate) -> Self {
        Self { rate, fixed: None, minimum: None, maximum: None, returned_on_refund: true }
    }

    /// The fee of an amount: rate and fixed part, at least the minimum, at most the maximum; never below zero and never
    /// more than the amount, which is not negative.
    pub(crate) fn of(&self, amount: Money) -> Money {
        let minor = |part: Option<Money>| {
            part.filter(|part| part.currency() == amount.currency()).map(|part| i128::from(part.minor()))
        };
        let mut fee = i128::from(self.rate.of(amount).minor()) + minor(self.fixed).unwrap_or(0);
        if let Some(minimum) = minor(self.minimum) {
            fee = fee.max(minimum);
        }
        if let Some(maximum) = minor(self.maximum) {
            fee = fee.min(maximum);
        }
        let fee = i64::try_from(fee).map_or(amount.minor(), |fee| fee.min(amount.minor()));
        Money::new(fee, amount.currency())
    }
}

impl Terms {
    /// Without a schedule nothing is paid and nothing is expected.
    pub(crate) const NONE: Self = Self { fee: FeeTerms::NONE, channel_fee: FeeTerms::NONE };
}

impl TermsInForce {
    pub(crate) const NONE: Self = Self { version: None, terms: Terms::NONE };
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use tael_money::Currency;

    use super::*;

    fn cny(minor: i64) -> Money {
        Money::new(minor, Currency::CNY)
    }

    #[test]
    fn every_part_of_the_terms_counts_in_its_currency() {
        let rate = FeeTerms::rate(Rate::parse("0.006").unwrap());
        let fixed = FeeTerms { fixed: Some(cny(30)), ..rate };
        let bounded = FeeTerms { minimum: Some(cny(8)), maximum: Some(cny(500)), ..rate };
        let table = [
            (rate, cny(10_000), 60),
            (fixed, cny(10_000), 90),
            (fixed, cny(20), 20), // no more than there is
            (bounded, cny(100), 8),
            (bounded, cny(10_000), 60),
            (bounded, cny(1_000_000), 500),
            (bounded, cny(5), 5),
            (bounded, cny(0), 0),
            (FeeTerms { fixed: Some(cny(30)), ..bounded }, cny(1_000_000), 500),
            (fixed, Money::new(10_000, Currency::JPY), 60),
            (bounded, Money::new(100, Currency::JPY), 1),
            (FeeTerms { fixed: Some(cny(i64::MAX)), ..rate }, cny(i64::MAX), i64::MAX),
        ];
        for (terms, amount, fee) in table {
            assert_eq!(terms.of(amount), Money::new(fee, amount.currency()), "{terms:?} of {amount}");
        }
    }

    pub(crate) fn any_terms(currency: Currency) -> impl Strategy<Value = FeeTerms> {
        let part =
            move || prop::option::of((1_i64..1_000).prop_map(move |minor| Money::new(minor, currency)));
        ((0_u32..=100_000_000), part(), part(), part(), any::<bool>()).prop_map(
            |(rate, fixed, one, other, returned_on_refund)| {
                let (minimum, maximum) = match (one, other) {
                    (Some(one), Some(other)) if one.minor() > other.minor() => (Some(other), Some(one)),
                    both => both,
                };
                let rate = format!("{}.{:08}", rate / 100_000_000, rate % 100_000_000);
                FeeTerms { rate: Rate::parse(&rate).unwrap(), fixed, minimum, maximum, returned_on_refund }
            },
        )
    }

    proptest! {
        #[test]
        fn a_fee_lies_within_its_amount_and_its_bounds_and_grows_with_it(
            terms in any_terms(Currency::CNY),
            amount in prop_oneof![0_i64..500, 0_i64..=i64::MAX],
            more in 0_i64..1_000_000,
        ) {
            let fee = terms.of(cny(amount)).minor();
            prop_assert!((0..=amount).contains(&fee));
            if let Some(minimum) = terms.minimum {
                prop_assert!(fee >= minimum.minor().min(amount));
            }
            if let Some(maximum) = terms.maximum {
                prop_assert!(fee <= maximum.minor());
            }
            prop_assert!(terms.of(cny(amount.saturating_add(more))).minor() >= fee);
        }
    }
}
