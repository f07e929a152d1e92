//! Money that came when its order could not take it.

use tael_ids::EventId;
use tael_proto::event::v1::dead_letter_service_client::DeadLetterServiceClient;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{
    OrderPaymentHeld, OrderPaymentReleased, OrderRefunded, ReplayDeadLettersRequest,
};
use tael_proto::settlement::v1::{AccountKind, Direction, StatementLine, TransferKind};

use crate::fixture::{Fixture, Paid, Shop, cny, event, event_at, money, start};
use crate::peers::Bill;
use crate::statement::lines;

/// What the merchant is owed in yuan, and what is in suspense.
async fn owed_and_suspense(fixture: &Fixture, shop: &Shop) -> (i64, i64) {
    let owed = -fixture.balance(shop, AccountKind::MerchantPayable, "CNY").await;
    (owed, fixture.suspense(shop).await)
}

#[tokio::test]
async fn held_money_is_in_suspense_whichever_log_is_read_first() {
    let fixture = start().await;
    let (before, after) =
        (fixture.shop_with_rates("0.006", "0.0038").await, fixture.shop_with_rates("0.006", "0.0038").await);
    let (late, early) = (before.paid(10_000), after.paid(10_000));

    fixture.happen([late.event()]).await;
    fixture.orders_tell([late.held()]).await;
    assert_eq!(owed_and_suspense(&fixture, &before).await, (-60, 10_000));

    fixture.orders_tell([early.held()]).await;
    assert_eq!(owed_and_suspense(&fixture, &after).await, (-10_000, 10_000));
    fixture.checked().await;
    fixture.happen([early.event()]).await;
    assert_eq!(owed_and_suspense(&fixture, &after).await, (-60, 10_000));

    let hold = fixture.transfers(&before).await.into_iter().find(|t| t.kind() == TransferKind::Hold).unwrap();
    let sides: Vec<_> =
        hold.entries.iter().map(|e| (e.direction(), e.kind(), e.amount.clone().unwrap())).collect();
    assert_eq!(
        sides,
        [
            (Direction::Debit, AccountKind::MerchantPayable, cny(10_000)),
            (Direction::Credit, AccountKind::Suspense, cny(10_000)),
        ]
    );
    assert_eq!((hold.payment_id, hold.refund_id.as_str()), (late.payment_id.to_string(), ""));
    assert_eq!(hold.occur_time, late.held().occur_time);
    fixture.checked().await;
}

#[tokio::test]
async fn money_that_the_order_took_is_owed_to_the_merchant() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    let paid = shop.paid(10_000);
    fixture.orders_tell([paid.held(), paid.released(true)]).await; // both in one batch of events
    assert_eq!(owed_and_suspense(&fixture, &shop).await, (0, 0));
    fixture.happen([paid.event()]).await;
    assert_eq!(owed_and_suspense(&fixture, &shop).await, (9_940, 0));
    assert_eq!(fixture.checked().await.transfer_count, 3);
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn money_that_the_payer_got_back_leaves_nothing_anywhere() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    for refund_first in [true, false] {
        let paid = shop.paid(10_000);
        fixture.happen([paid.event()]).await;
        fixture.orders_tell([paid.held()]).await;
        let refund = fixture.happen([paid.refunded(10_000, 10_000).event()]);
        let release = fixture.orders_tell([paid.released(false)]);
        if refund_first {
            refund.await;
            assert_eq!(owed_and_suspense(&fixture, &shop).await, (-10_000, 10_000));
            release.await;
        } else {
            release.await;
            assert_eq!(owed_and_suspense(&fixture, &shop).await, (9_940, 0));
            refund.await;
        }
        assert_eq!(owed_and_suspense(&fixture, &shop).await, (0, 0));
        assert_eq!(fixture.balances(&shop).await, [0; 5]);
    }
    fixture.checked().await;
}

#[tokio::test]
async fn what_is_delivered_again_is_held_and_released_once() {
    let fixture = start().await;
    let shop = fixture.shop();
    let paid = shop.paid(700);
    let told = [paid.held(), paid.released(true)];
    fixture.happen([paid.event()]).await;
    // Twice in one batch, again in another, and the same under other events.
    fixture.orders_tell(told.iter().chain(&told).cloned()).await;
    fixture.orders_tell(told.clone()).await;
    fixture.orders_tell([paid.held(), paid.released(true)]).await;
    assert_eq!(fixture.checked().await.transfer_count, 3);
    assert_eq!(owed_and_suspense(&fixture, &shop).await, (700, 0));
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn two_replicas_hold_once() {
    let fixture = start().await;
    let shop = fixture.shop();
    let replica =
        tael_testkit::run::<tael_settlement::App>(fixture.config.clone(), fixture.clock.clone()).await;
    let payments: Vec<_> = (0..200).map(|_| shop.paid(100)).collect();
    for some in payments.chunks(20) {
        fixture.payment.append(some.iter().map(Paid::event));
        fixture.orders.append_all(some.iter().map(Paid::held));
        fixture.orders.append_all(some.iter().take(5).map(|paid| paid.released(true)));
    }
    fixture.consumed().await;
    fixture.orders.consumed().await;
    replica.stop().await;
    assert_eq!(fixture.checked().await.transfer_count, 200 + 200 + 50);
    assert_eq!(owed_and_suspense(&fixture, &shop).await, (5_000, 15_000));
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_release_without_its_hold_becomes_a_dead_letter_and_replayed_after_it() {
    let fixture = start().await;
    let shop = fixture.shop();
    let (unheld, other) = (shop.paid(500), shop.paid(800));
    let released = unheld.released(true);
    fixture.orders_tell([released.clone(), other.held()]).await;
    assert_eq!(owed_and_suspense(&fixture, &shop).await, (-800, 800));
    let errors = fixture.dead_letters().await;
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("a release needs a hold of its amount"), "{errors:?}");

    let mut operator = DeadLetterServiceClient::new(fixture.running.channel());
    let all = ReplayDeadLettersRequest::default();
    let replayed = operator.replay_dead_letters(all.clone()).await.unwrap().into_inner();
    assert_eq!((replayed.applied, replayed.failed_event_ids), (0, vec![released.event_id]), "still no hold");

    fixture.orders_tell([unheld.held()]).await;
    assert_eq!(owed_and_suspense(&fixture, &shop).await, (-1_300, 1_300));
    let replayed = operator.replay_dead_letters(all).await.unwrap().into_inner();
    assert_eq!((replayed.applied, replayed.failed_event_ids), (1, vec![]));
    assert_eq!(owed_and_suspense(&fixture, &shop).await, (-800, 800));
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
    assert_eq!(fixture.checked().await.transfer_count, 3);
}

#[tokio::test]
async fn what_cannot_be_held_or_released_becomes_a_dead_letter() {
    let fixture = start().await;
    let shop = fixture.shop();
    let paid = shop.paid(500);
    let at = "2026-11-20T04:00:00Z".parse().unwrap();
    let held = |amount| {
        let payment_id = paid.payment_id.to_string();
        let fact = OrderPaymentHeld { amount: Some(amount), payment_id, ..OrderPaymentHeld::default() };
        event_at(&shop, Kind::OrderPaymentHeld(fact), at)
    };
    let released = |amount| {
        let payment_id = paid.payment_id.to_string();
        let fact =
            OrderPaymentReleased { amount: Some(amount), payment_id, ..OrderPaymentReleased::default() };
        event_at(&shop, Kind::OrderPaymentReleased(fact), at)
    };
    let mut same_event = shop.paid(1).held();
    let first = paid.held();
    same_event.event_id.clone_from(&first.event_id);
    let mut timeless = shop.paid(2).held();
    timeless.occur_time = None;
    fixture
        .orders_tell([
            first,
            held(cny(501)),              // held before with another amount
            held(money(500, "JPY")),     // and in another currency
            same_event,                  // another payment under the same event
            released(cny(499)),          // not what was held
            released(money(500, "JPY")), // not what was held
            held(cny(0)),
            held(cny(-1)),
            timeless,
            event_at(&shop, Kind::OrderPaymentHeld(OrderPaymentHeld::default()), at),
            event_at(&shop, Kind::OrderPaymentReleased(OrderPaymentReleased::default()), at),
            event(&shop, Kind::OrderRefunded(OrderRefunded::default())), // of no concern
        ])
        .await;
    assert_eq!(owed_and_suspense(&fixture, &shop).await, (-500, 500));
    let errors = fixture.dead_letters().await;
    assert_eq!(errors.len(), 10, "{errors:#?}");
    // Released once; told again in another amount, it is refused.
    fixture.orders_tell([paid.released(true), released(cny(499))]).await;
    assert_eq!(owed_and_suspense(&fixture, &shop).await, (0, 0));
    assert_eq!(fixture.dead_letters().await.len(), 11);
    fixture.checked().await;
}

#[tokio::test]
async fn an_event_stands_for_one_posting_in_both_logs() {
    let fixture = start().await;
    let shop = fixture.shop();
    let (first, second) = (shop.paid(100), shop.paid(200));
    let event_id = EventId::new().to_string();
    let mut paid = first.event();
    paid.event_id.clone_from(&event_id);
    let mut held = second.held();
    held.event_id = event_id;
    fixture.happen([paid]).await;
    fixture.orders_tell([held]).await;
    assert_eq!(owed_and_suspense(&fixture, &shop).await, (100, 0));
    assert_eq!(fixture.dead_letters().await.len(), 1);
}

/// What a merchant reads: kind, amount, fee and net.
fn told(lines: &[StatementLine]) -> Vec<(TransferKind, i64, i64, i64)> {
    let minor = |money: &Option<tael_proto::r#type::v1::Money>| money.as_ref().unwrap().minor;
    lines.iter().map(|l| (l.kind(), minor(&l.amount), minor(&l.fee), minor(&l.net))).collect()
}

#[tokio::test]
async fn batches_take_holds_and_releases_and_statements_tell_of_them() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    let (fine, late) = (shop.paid(5_000), shop.paid_at(cny(10_000), "2026-11-20T15:30:00Z"));
    fixture.happen([fine.event(), late.event()]).await;
    // Held before midnight, released after it.
    fixture.orders_tell([late.held(), late.released(true)]).await;

    let batch = fixture.close(&shop, None).await.unwrap();
    assert_eq!((batch.payment_count, batch.refund_count), (2, 0));
    assert_eq!((batch.gross, batch.fees, batch.held), (Some(cny(15_000)), Some(cny(90)), Some(cny(10_000))));
    assert_eq!((batch.released, batch.net), (Some(cny(0)), Some(cny(4_910))));
    let statement = lines(&fixture, &shop, &batch.batch_id, 2).await;
    assert_eq!(
        told(&statement),
        [
            (TransferKind::Payment, 5_000, -30, 4_970),
            (TransferKind::Payment, 10_000, -60, 9_940),
            (TransferKind::Hold, -10_000, 0, -10_000),
        ]
    );
    assert_eq!(statement[2].payment_id, late.payment_id.to_string());
    assert_eq!(statement[2].refund_id, "");
    assert_eq!(owed_and_suspense(&fixture, &shop).await, (10_000, 0));

    // A batch of nothing but a release.
    let next = fixture.close(&shop, Some("2026-11-21T00:00:00Z")).await.unwrap();
    assert_eq!((next.payment_count, next.refund_count, &next.gross), (0, 0, &Some(cny(0))));
    assert_eq!(
        (&next.held, &next.released, &next.net),
        (&Some(cny(0)), &Some(cny(10_000)), &Some(cny(10_000)))
    );
    let statement = lines(&fixture, &shop, &next.batch_id, 2).await;
    assert_eq!(told(&statement), [(TransferKind::Release, 10_000, 0, 10_000)]);
    assert_eq!(owed_and_suspense(&fixture, &shop).await, (0, 0));
    assert_eq!(fixture.balances(&shop).await[2], -14_910);
    fixture.checked().await;
}

#[tokio::test]
async fn a_batch_of_a_hold_alone_is_negative() {
    let fixture = start().await;
    let shop = fixture.shop();
    let paid = shop.paid(300);
    fixture.orders_tell([paid.held()]).await;
    let batch = fixture.close(&shop, None).await.unwrap();
    assert_eq!((batch.held, batch.net), (Some(cny(300)), Some(cny(-300))));
    // The payment, read later, makes up for it.
    fixture.happen([paid.event()]).await;
    assert_eq!(fixture.close(&shop, None).await.unwrap().net, Some(cny(300)));
    let [_, payable, payout, _, _] = fixture.balances(&shop).await;
    assert_eq!((payable, payout, fixture.suspense(&shop).await), (0, 0, 300));
    fixture.checked().await;
}

#[tokio::test]
async fn the_channels_bill_knows_nothing_of_suspense() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    let (accepted, held) = (shop.paid(10_000), shop.paid(5_000));
    fixture.happen([accepted.event(), held.event()]).await;
    fixture.orders_tell([accepted.held(), accepted.released(true), held.held()]).await;
    let bill = vec![vec![accepted.bill_line(38), held.bill_line(19)]];
    fixture.payment.set_bill(&shop.channel_account_id, "2026-11-20", Bill::Parts(bill));
    let request = tael_proto::settlement::v1::ReconcileRequest {
        merchant_id: shop.merchant_id.clone(),
        channel_account_id: shop.channel_account_id.clone(),
        statement_date: "2026-11-20".to_owned(),
    };
    let answer =
        fixture.reconciliations.clone().reconcile(tael_testkit::keyed(request)).await.unwrap().into_inner();
    let reconciliation = answer.reconciliation.unwrap();
    assert_eq!((reconciliation.statement_lines, reconciliation.matched), (2, 2));
    assert_eq!(reconciliation.breaks, []);
}
