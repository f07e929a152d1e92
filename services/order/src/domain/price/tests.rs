use proptest::prelude::*;
use tael_ids::PromotionId;
use tael_money::{Currency, Money};

use super::*;

fn cny(minor: i64) -> Money {
    Money::new(minor, Currency::CNY)
}

fn item(quantity: u32, unit_price: Money) -> Item {
    Item { quantity, unit_price }
}

fn offer(threshold: Money, saving: Money) -> Offer {
    Offer { id: PromotionId::new(), threshold, saving }
}

#[test]
fn without_a_promotion_the_total_is_items_and_shipping() {
    let basket = Basket::new(&[item(2, cny(1_050)), item(1, cny(399))], Some(cny(800))).unwrap();
    let (price, lines) = basket.price(&[]);
    assert_eq!(
        price,
        Price {
            items: cny(2_499),
            discount: cny(0),
            shipping: cny(800),
            total: cny(3_299),
            promotion_id: None
        }
    );
    assert_eq!(
        lines,
        [
            LinePrice { subtotal: cny(2_100), discount: cny(0), total: cny(2_100) },
            LinePrice { subtotal: cny(399), discount: cny(0), total: cny(399) },
        ]
    );
}

#[test]
fn a_saving_is_divided_by_largest_remainder() {
    // 100 / 300 each: 33 and a third, and the unit left over goes to the earliest.
    let items = [item(1, cny(10_000)), item(1, cny(10_000)), item(1, cny(10_000))];
    let basket = Basket::new(&items, None).unwrap();
    let (price, lines) = basket.price(&[offer(cny(30_000), cny(100))]);
    assert_eq!(price.total, cny(29_900));
    assert_eq!(lines.iter().map(|l| l.discount.minor()).collect::<Vec<_>>(), [34, 33, 33]);
}

#[test]
fn the_largest_saving_within_reach_wins_and_among_equals_the_oldest() {
    let basket = Basket::new(&[item(1, cny(10_000))], None).unwrap();
    let small = offer(cny(5_000), cny(300));
    let old = offer(cny(10_000), cny(1_000));
    let young = offer(cny(8_000), cny(1_000));
    let out_of_reach = offer(cny(10_001), cny(5_000));
    let foreign = offer(Money::new(1, Currency::USD), Money::new(1, Currency::USD));
    let offers = [young, out_of_reach, small, old, foreign];
    let (price, _) = basket.price(&offers);
    assert_eq!((price.promotion_id, price.discount), (Some(old.id), cny(1_000)));
}

#[test]
fn a_full_discount_leaves_nothing_to_pay_but_shipping() {
    let items = [item(1, cny(300)), item(2, cny(100))];
    let basket = Basket::new(&items, None).unwrap();
    let (price, lines) = basket.price(&[offer(cny(500), cny(500))]);
    assert_eq!((price.discount, price.total), (cny(500), cny(0)));
    assert!(lines.iter().all(|line| line.total.is_zero()));
    let shipped = Basket::new(&[item(1, cny(500))], Some(cny(1))).unwrap();
    assert_eq!(shipped.price(&[offer(cny(500), cny(500))]).0.total, cny(1));
}

#[test]
fn what_is_free_of_charge_has_no_share_of_a_discount() {
    let items = [item(1, cny(0)), item(3, cny(100)), item(2, cny(0))];
    let (price, lines) = Basket::new(&items, None).unwrap().price(&[offer(cny(100), cny(50))]);
    assert_eq!(price.total, cny(250));
    assert_eq!(lines.iter().map(|l| l.discount.minor()).collect::<Vec<_>>(), [0, 50, 0]);
    let (price, lines) = Basket::new(&items[..1], None).unwrap().price(&[offer(cny(1), cny(1))]);
    assert_eq!((price.total, price.promotion_id, lines[0].total), (cny(0), None, cny(0)));
}

#[test]
fn no_order_comes_to_more_than_can_be_paid() {
    let most = cny(MAX_AMOUNT_MINOR);
    assert_eq!(Basket::new(&[item(1, most)], None).unwrap().price(&[]).0.total, most);
    let part = Part::Line(0);
    for items in [[item(1, cny(MAX_AMOUNT_MINOR + 1))], [item(2, most)], [item(9999, cny(i64::MAX))]] {
        assert_eq!(Basket::new(&items, None), Err(vec![Problem::TooLarge { part }]));
    }
    let shipped = Basket::new(&[item(1, most)], Some(cny(1)));
    assert_eq!(shipped, Err(vec![Problem::TooLarge { part: Part::Shipping }]));
}

#[test]
fn everything_that_is_wrong_is_named() {
    let usd = Money::new(5, Currency::USD);
    let expected = Currency::CNY;
    let items =
        [item(1, cny(1)), item(1, usd), item(2, cny(i64::MAX)), item(0, cny(1)), item(1, cny(i64::MAX))];
    let problems = Basket::new(&items, Some(usd)).unwrap_err();
    assert_eq!(
        problems,
        [
            Problem::Currency { part: Part::Line(1), expected },
            Problem::TooLarge { part: Part::Line(2) },
            Problem::OutOfRange { part: Part::Line(3) },
            Problem::TooLarge { part: Part::Line(4) },
            Problem::Currency { part: Part::Shipping, expected },
        ]
    );
    let full = [item(1, cny(MAX_AMOUNT_MINOR))];
    assert_eq!(Basket::new(&full, Some(cny(1))), Err(vec![Problem::TooLarge { part: Part::Shipping }]));
    assert_eq!(Basket::new(&full, Some(cny(-1))), Err(vec![Problem::OutOfRange { part: Part::Shipping }]));
    assert_eq!(Basket::new(&[], None), Err(vec![Problem::OutOfRange { part: Part::Line(0) }]));
}

/// One currency for each number of decimals that ISO 4217 has in use.
fn currency() -> impl Strategy<Value = Currency> {
    prop_oneof![Just(Currency::JPY), Just(Currency::CNY), Just(Currency::KWD)]
}

proptest! {
    #[test]
    fn the_parts_add_up(
        currency in currency(),
        items in prop::collection::vec((1_u32..=9999, 0_i64..1_000_000), 1..=100),
        shipping in prop::option::of(0_i64..1_000_000),
        offers in prop::collection::vec((1_i64..1_000_000_000, 1_u32..=100), 0..5),
    ) {
        let money = |minor| Money::new(minor, currency);
        let items: Vec<Item> = items.into_iter().map(|(q, p)| item(q, money(p))).collect();
        let offers: Vec<Offer> = offers
            .into_iter()
            .map(|(threshold, percent)| {
                offer(money(threshold), money((threshold * i64::from(percent) / 100).max(1)))
            })
            .collect();
        let basket = Basket::new(&items, shipping.map(money)).unwrap();
        let (price, lines) = basket.price(&offers);

        prop_assert_eq!(price.items.minor() - price.discount.minor() + price.shipping.minor(), price.total.minor());
        prop_assert_eq!(price.discount.is_zero(), price.promotion_id.is_none());
        prop_assert!(!price.total.is_negative());
        prop_assert_eq!(lines.len(), items.len());
        for (line, item) in lines.iter().zip(&items) {
            prop_assert_eq!(line.subtotal.minor(), item.unit_price.minor() * i64::from(item.quantity));
            prop_assert!((0..=line.subtotal.minor()).contains(&line.discount.minor()));
            prop_assert_eq!(line.subtotal.minor() - line.discount.minor(), line.total.minor());
        }
        let sum = |part: fn(&LinePrice) -> Money| lines.iter().map(|l| part(l).minor()).sum::<i64>();
        prop_assert_eq!(sum(|l| l.subtotal), price.items.minor());
        prop_assert_eq!(sum(|l| l.discount), price.discount.minor());
        prop_assert_eq!(sum(|l| l.total) + price.shipping.minor(), price.total.minor());
    }

    #[test]
    fn no_other_offer_would_have_saved_more(
        unit_price in 1_i64..10_000,
        offers in prop::collection::vec((1_i64..10_000, 1_i64..10_000), 1..8),
    ) {
        let basket = Basket::new(&[item(1, cny(unit_price))], Some(cny(1))).unwrap();
        let offers: Vec<Offer> =
            offers.into_iter().map(|(a, b)| offer(cny(a.max(b)), cny(a.min(b)))).collect();
        let (price, _) = basket.price(&offers);
        for offer in offers.iter().filter(|o| o.threshold.minor() <= unit_price) {
            prop_assert!(offer.saving.minor() <= price.discount.minor());
        }
    }

    #[test]
    fn any_amount_is_priced_or_refused_but_never_panics(
        items in prop::collection::vec((any::<u32>(), any::<i64>()), 0..4),
        shipping in prop::option::of(any::<i64>()),
        threshold in 1_i64..=i64::MAX,
    ) {
        let items: Vec<Item> = items.into_iter().map(|(q, p)| item(q, cny(p))).collect();
        if let Ok(basket) = Basket::new(&items, shipping.map(cny)) {
            let _ = basket.price(&[offer(cny(threshold), cny(threshold))]);
        }
    }
}
