//! Random histories through the whole service.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tael_proto::event::v1::Event;
use tael_proto::settlement::v1::{AccountKind, CloseBatchRequest};
use tael_testkit::keyed;

use crate::fixture::{Fixture, Shop, money, start};
use crate::statement::lines;

/// What the order did with a payment's money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Took,
    Holds,
    HeldAndReleased,
}

/// A merchant's payments in one currency, each with the sums refunded after its refunds, and with its order.
#[derive(Clone, Debug)]
struct History {
    currency: &'static str,
    rate: String,
    channel_rate: String,
    payments: Vec<(i64, Vec<i64>, Order)>,
    refunded_in_full: bool,
}

fn rate() -> impl Strategy<Value = String> {
    (0_u32..=100_000_000).prop_map(|n| format!("{}.{:08}", n / 100_000_000, n % 100_000_000))
}

fn payment(refunded_in_full: bool) -> impl Strategy<Value = (i64, Vec<i64>, Order)> {
    prop_oneof![1_i64..200, 1_i64..1_000_000_000].prop_flat_map(move |amount| {
        let order = prop::sample::select(vec![Order::Took, Order::Holds, Order::HeldAndReleased]);
        (prop::collection::btree_set(1..=amount, 0..5), order).prop_map(move |(mut totals, order)| {
            if refunded_in_full {
                totals.insert(amount);
            }
            (amount, totals.into_iter().collect(), order)
        })
    })
}

fn history() -> impl Strategy<Value = History> {
    let currency = prop::sample::select(vec!["JPY", "CNY", "KWD"]);
    (currency, rate(), rate(), any::<bool>()).prop_flat_map(
        |(currency, rate, channel_rate, refunded_in_full)| {
            prop::collection::vec(payment(refunded_in_full), 1..8).prop_map(move |payments| History {
                currency,
                rate: rate.clone(),
                channel_rate: channel_rate.clone(),
                payments,
                refunded_in_full,
            })
        },
    )
}

#[tokio::test]
async fn every_history_adds_up() {
    let fixture = start().await;
    let mut runner = TestRunner::deterministic();
    let mut played = Vec::new();
    let (mut paid, mut ordered) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        let history = history().new_tree(&mut runner).unwrap().current();
        let shop = fixture.shop_with_rates(&history.rate, &history.channel_rate).await;
        happenings(&shop, &history, &mut paid, &mut ordered);
        played.push((shop, history));
    }
    // Cut into batches of all sizes: some hold payments with their refunds, some refunds of payments long posted. The
    // two logs run beside each other, now one ahead, now the other.
    let mut size = || (1..=40_usize).new_tree(&mut runner).unwrap().current();
    let (mut payment_log, mut order_log) = (paid.as_slice(), ordered.as_slice());
    while !payment_log.is_empty() || !order_log.is_empty() {
        let (payments, later_payments) = payment_log.split_at(size().min(payment_log.len()));
        let (orders, later_orders) = order_log.split_at(size().min(order_log.len()));
        futures::join!(fixture.happen(payments.iter().cloned()), fixture.orders_tell(orders.iter().cloned()));
        (payment_log, order_log) = (later_payments, later_orders);
    }
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
    assert_eq!(fixture.checked().await.transfer_count, (paid.len() + ordered.len()) as u64);

    for (shop, history) in &played {
        let [receivable, payable, income, cost, suspense] = balances(&fixture, shop, history).await;
        let held = history.payments.iter().filter(|(_, _, order)| *order == Order::Holds);
        assert_eq!(-suspense, held.map(|(amount, _, _)| amount).sum::<i64>(), "{history:?}");
        if history.refunded_in_full {
            assert_eq!([receivable, payable + suspense, income, cost], [0; 4], "{history:?}");
        }
        settle(&fixture, shop, history).await;
    }
    assert_eq!(fixture.checked().await.sums.len(), 3);
}

/// The events of a history, in the order of their logs.
fn happenings(shop: &Shop, history: &History, payments: &mut Vec<Event>, orders: &mut Vec<Event>) {
    for (amount, totals, order) in &history.payments {
        let paid = shop.paid_at(money(*amount, history.currency), "2026-11-20T04:00:00Z");
        payments.push(paid.event());
        let before = std::iter::once(0).chain(totals.iter().copied());
        payments
            .extend(before.zip(totals).map(|(before, total)| paid.refunded(total - before, *total).event()));
        match order {
            Order::Took => {}
            Order::Holds => orders.push(paid.held()),
            Order::HeldAndReleased => orders.extend([paid.held(), paid.released(true)]),
        }
    }
}

/// The balances that all but batches move.
async fn balances(fixture: &Fixture, shop: &Shop, history: &History) -> [i64; 5] {
    let mut balances = [0; 5];
    let kinds = [
        AccountKind::ChannelReceivable,
        AccountKind::MerchantPayable,
        AccountKind::FeeIncome,
        AccountKind::ChannelCost,
        AccountKind::Suspense,
    ];
    for (balance, kind) in balances.iter_mut().zip(kinds) {
        *balance = fixture.balance(shop, kind, history.currency).await;
    }
    assert_eq!(balances.iter().sum::<i64>(), 0);
    balances
}

/// Closes the batch and compares it with its statement and with the accounts.
async fn settle(fixture: &Fixture, shop: &Shop, history: &History) {
    let payable = fixture.balance(shop, AccountKind::MerchantPayable, history.currency).await;
    let request = CloseBatchRequest {
        merchant_id: shop.merchant_id.clone(),
        currency: history.currency.to_owned(),
        cut_off_time: None,
    };
    let batch =
        fixture.batches.clone().close_batch(keyed(request)).await.unwrap().into_inner().batch.unwrap();
    let net = batch.net.unwrap().minor;
    assert_eq!(net, -payable);
    assert_eq!(fixture.balance(shop, AccountKind::MerchantPayable, history.currency).await, 0);
    assert_eq!(fixture.balance(shop, AccountKind::PayoutPayable, history.currency).await, -net);
    let lines = lines(fixture, shop, &batch.batch_id, 4).await;
    let of = |wanted: Order| history.payments.iter().filter(|(_, _, order)| *order == wanted).count();
    let suspensions = of(Order::Holds) + 2 * of(Order::HeldAndReleased);
    assert_eq!(lines.len(), (batch.payment_count + batch.refund_count) as usize + suspensions);
    assert_eq!(lines.iter().map(|line| line.net.as_ref().unwrap().minor).sum::<i64>(), net);
}
