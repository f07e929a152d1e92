use proptest::prelude::*;
use tael_money::{Currency, Money, SplitError, allocate, prorate_cumulative};

use crate::any_currency;

fn parts(total: i64, weights: &[i64]) -> Vec<i64> {
    let parts =
        allocate(Money::new(total, Currency::CNY), weights).expect("weights of which one is above zero");
    parts.into_iter().map(Money::minor).collect()
}

#[test]
fn left_over_units_go_where_rounding_lost_most_and_to_the_earlier_of_equals() {
    assert_eq!(parts(100, &[1, 1, 1]), [34, 33, 33]);
    assert_eq!(parts(101, &[1, 1, 1]), [34, 34, 33]);
    assert_eq!(parts(10, &[1, 2, 3]), [2, 3, 5]); // 1.67, 3.33, 5
    assert_eq!(parts(2000, &[9900, 4999]), [1329, 671]); // 1328.95, 671.05
    assert_eq!(parts(1, &[0, 5, 5, 0]), [0, 1, 0, 0]);
    assert_eq!(parts(-100, &[1, 1, 1]), [-34, -33, -33]);
    assert_eq!(parts(0, &[3, 4]), [0, 0]);
}

#[test]
fn the_largest_numbers_are_divided_exactly() {
    assert_eq!(parts(i64::MAX, &[i64::MAX, 0]), [i64::MAX, 0]);
    assert_eq!(parts(i64::MIN, &[i64::MAX]), [i64::MIN]);
    assert_eq!(parts(i64::MIN, &[i64::MAX, i64::MAX]), [i64::MIN / 2, i64::MIN / 2]);
}

#[test]
fn nobody_to_give_to_is_an_error() {
    let total = Money::new(100, Currency::CNY);
    assert_eq!(allocate(total, &[]), Err(SplitError::NoWeight));
    assert_eq!(allocate(total, &[0, 0]), Err(SplitError::NoWeight));
    assert_eq!(allocate(total, &[2, -1]), Err(SplitError::NegativeWeight));
}

#[test]
fn progress_stays_within_its_total() {
    let fee = Money::new(60, Currency::CNY);
    for (before, after, total) in [(0, 1, 0), (-1, 1, 5), (3, 2, 5), (0, 6, 5), (0, 0, -1)] {
        let refused = Err(SplitError::NotWithinTotal);
        assert_eq!(prorate_cumulative(fee, before, after, total), refused, "{before} to {after} of {total}");
    }
}

#[test]
fn a_fee_of_one_fen_is_returned_once() {
    let fee = Money::new(1, Currency::CNY);
    let steps: Vec<i64> =
        (0..4).map(|done| prorate_cumulative(fee, done, done + 1, 4).unwrap().minor()).collect();
    assert_eq!(steps, [0, 1, 0, 0]);
}

/// Weights of which at least one is above zero, from few and even to huge and skewed.
fn weights() -> impl Strategy<Value = Vec<i64>> {
    let weight = prop_oneof![Just(0), 0..10_i64, 0..1_000_000_i64, 0..=i64::MAX];
    proptest::collection::vec(weight, 1..40).prop_filter("someone takes a part", |w| w.iter().any(|&w| w > 0))
}

proptest! {
    #[test]
    fn parts_add_up_to_the_whole(total: i64, weights in weights(), currency in any_currency()) {
        let total = Money::new(total, currency);
        let parts = allocate(total, &weights).unwrap();
        prop_assert_eq!(parts.len(), weights.len());
        prop_assert_eq!(Money::sum(parts, currency), Ok(total));
    }

    #[test]
    fn each_part_is_within_one_minor_unit_of_its_share(total: i32, weights in proptest::collection::vec(1..=i64::MAX, 1..40)) {
        let total = i64::from(total);
        let sum: i128 = weights.iter().copied().map(i128::from).sum();
        for (part, &weight) in parts(total, &weights).into_iter().zip(&weights) {
            // |part − total × weight / sum| < 1, multiplied by the sum to stay among whole numbers.
            let difference = i128::from(part) * sum - i128::from(total) * i128::from(weight);
            prop_assert!(difference.abs() < sum, "{part} for weight {weight}");
        }
    }

    #[test]
    fn a_larger_weight_never_gets_less_and_a_zero_weight_nothing(total in 0..=i64::MAX, weights in weights()) {
        let parts = parts(total, &weights);
        for (i, &weight) in weights.iter().enumerate() {
            prop_assert!(weight > 0 || parts[i] == 0);
            for (j, &other) in weights.iter().enumerate() {
                prop_assert!(weight <= other || parts[i] >= parts[j]);
            }
        }
    }

    #[test]
    fn a_negative_total_is_the_mirror_image(total in 0..=i64::MAX, weights in weights()) {
        let mirrored: Vec<i64> = parts(-total, &weights).into_iter().map(|part| -part).collect();
        prop_assert_eq!(mirrored, parts(total, &weights));
    }

    #[test]
    fn steps_of_a_progress_add_up_to_the_whole(whole: i64, mut cuts in proptest::collection::vec(0..=i64::MAX, 1..20)) {
        cuts.sort_unstable();
        let total = cuts[cuts.len() - 1].max(1);
        cuts.insert(0, 0);
        cuts.push(total);
        let whole = Money::new(whole, Currency::CNY);
        let steps: Vec<Money> =
            cuts.windows(2).map(|step| prorate_cumulative(whole, step[0], step[1], total).unwrap()).collect();
        prop_assert!(steps.iter().all(|step| step.minor().signum() * whole.minor().signum() >= 0), "a step went back");
        prop_assert_eq!(Money::sum(steps, Currency::CNY), Ok(whole));
    }
}
