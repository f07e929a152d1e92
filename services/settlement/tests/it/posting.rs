use std::collections::HashSet;

use tael_ids::EventId;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{PaymentCreated, PaymentRefunded, PaymentSucceeded};
use tael_proto::settlement::v1::{AccountKind, Direction, Transfer, TransferKind};
use tael_testkit::eventually;

use crate::fixture::{Paid, cny, event, money, start};

#[tokio::test]
async fn a_payment_and_its_refunds_move_the_accounts() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    let paid = shop.paid(10_000);
    fixture.happen([paid.event()]).await;
    assert_eq!(fixture.balances(&shop).await, [9_962, -9_940, 0, -60, 38]);

    fixture.happen([paid.refunded(2_500, 2_500).event()]).await;
    assert_eq!(fixture.balances(&shop).await, [7_472, -7_455, 0, -45, 28]);

    fixture.happen([paid.refunded(7_500, 10_000).event()]).await;
    assert_eq!(fixture.balances(&shop).await, [0, 0, 0, 0, 0]);

    let transfers = fixture.transfers(&shop).await;
    let kinds: Vec<_> = transfers.iter().map(Transfer::kind).collect();
    assert_eq!(kinds, [TransferKind::Refund, TransferKind::Refund, TransferKind::Payment]);
    let sides: Vec<_> =
        transfers[2].entries.iter().map(|e| (e.direction(), e.kind(), e.amount.clone().unwrap())).collect();
    assert_eq!(
        sides,
        [
            (Direction::Debit, AccountKind::ChannelCost, cny(38)),
            (Direction::Debit, AccountKind::ChannelReceivable, cny(9_962)),
            (Direction::Credit, AccountKind::FeeIncome, cny(60)),
            (Direction::Credit, AccountKind::MerchantPayable, cny(9_940)),
        ]
    );
    assert_eq!(fixture.checked().await.transfer_count, 3);
}

#[tokio::test]
async fn a_refund_in_the_batch_of_its_payment_is_posted() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.01", "0.005").await;
    let paid = shop.paid(1_000);
    // Even before it: the order within a batch does not matter.
    fixture.happen([paid.refunded(300, 300).event(), paid.event(), paid.refunded(700, 1_000).event()]).await;
    assert_eq!(fixture.balances(&shop).await, [0, 0, 0, 0, 0]);
    assert_eq!(fixture.checked().await.transfer_count, 3);
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn refunds_give_back_by_the_rate_of_their_payment() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.01", "0.006").await;
    let (first, second) = (shop.paid(1_000), shop.paid(1_000));
    fixture.happen([first.event()]).await;
    fixture.set_rates(&shop, "0.5", "0.25").await;
    fixture.happen([first.refunded(1_000, 1_000).event(), second.event()]).await;
    assert_eq!(fixture.balances(&shop).await, [750, -500, 0, -500, 250]);
    // The payment again, under the new rates, in one batch with a refund that is new: the posted fees count.
    fixture.set_rates(&shop, "0", "0").await;
    fixture.happen([second.event(), second.refunded(1_000, 1_000).event()]).await;
    assert_eq!(fixture.balances(&shop).await, [0, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_merchant_without_a_schedule_pays_nothing() {
    let fixture = start().await;
    let shop = fixture.shop();
    fixture.happen([shop.paid(1_000).event()]).await;
    assert_eq!(fixture.balances(&shop).await, [1_000, -1_000, 0, 0, 0]);
}

#[tokio::test]
async fn currencies_have_accounts_of_their_own() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    let at = "2026-11-20T04:00:00Z";
    fixture
        .happen([
            shop.paid_at(money(10_000, "JPY"), at).event(),
            shop.paid_at(money(10_000, "KWD"), at).event(),
        ])
        .await;
    for currency in ["JPY", "KWD"] {
        assert_eq!(fixture.balance(&shop, AccountKind::MerchantPayable, currency).await, -9_940);
    }
    assert_eq!(fixture.checked().await.sums.len(), 2);
}

#[tokio::test]
async fn what_is_delivered_again_is_posted_once() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    let paid = shop.paid(10_000);
    let events = [paid.event(), paid.refunded(100, 100).event()];
    // Twice in one batch, again in another, and the same payment under another event.
    fixture.happen(events.iter().chain(&events).cloned()).await;
    fixture.happen(events.clone()).await;
    fixture.happen([paid.event()]).await;
    assert_eq!(fixture.checked().await.transfer_count, 2);
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn two_replicas_post_once() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    let replica =
        tael_testkit::run::<tael_settlement::App>(fixture.config.clone(), fixture.clock.clone()).await;
    for _ in 0..20 {
        let payments: Vec<_> = (0..25).map(|_| shop.paid(100)).collect();
        fixture.payment.append(payments.iter().map(Paid::event));
        fixture.payment.append(payments.iter().map(|paid| paid.refunded(10, 10).event()));
    }
    fixture.consumed().await;
    replica.stop().await;
    assert_eq!(fixture.checked().await.transfer_count, 1_000);
    assert_eq!(fixture.balance(&shop, AccountKind::MerchantPayable, "CNY").await, -500 * (100 - 1 - 10));
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_posted_becomes_a_dead_letter_and_blocks_nothing() {
    let fixture = start().await;
    let shop = fixture.shop();
    let (never, paid) = (shop.paid(500), shop.paid(1_000));
    let good_after = shop.paid(77);
    let mut other_facts = paid.clone();
    other_facts.attempt_id = tael_ids::AttemptId::new();
    fixture
        .happen([
            never.refunded(10, 10).event(),
            paid.event(),
            other_facts.event(),
            paid.refunded(1_001, 1_001).event(),
            shop.paid(0).event(),
            shop.paid(-5).event(),
            event(&shop, Kind::PaymentSucceeded(PaymentSucceeded::default())),
            event(&shop, Kind::PaymentRefunded(PaymentRefunded::default())),
            shop.paid_at(money(5, "XXX"), "2026-11-20T04:00:00Z").event(),
            event(&shop, Kind::PaymentCreated(PaymentCreated::default())),
            good_after.event(),
        ])
        .await;
    assert_eq!(fixture.balances(&shop).await, [1_077, -1_077, 0, 0, 0]);
    let errors = fixture.dead_letters().await;
    assert_eq!(errors.len(), 8, "{errors:#?}");
    assert!(errors[0].contains("was never posted"), "{errors:#?}");
    assert!(errors[1].contains("posted before with other facts"), "{errors:#?}");
    assert!(errors[2].contains("does not lie within payment"), "{errors:#?}");
    fixture.checked().await;
}

#[tokio::test]
async fn two_refunds_that_claim_the_same_part_of_a_payment_are_not_both_posted() {
    let fixture = start().await;
    let shop = fixture.shop();
    let paid = shop.paid(1_000);
    fixture.happen([paid.event(), paid.refunded(600, 600).event()]).await;
    fixture.happen([paid.refunded(900, 900).event()]).await;
    assert_eq!(fixture.balance(&shop, AccountKind::MerchantPayable, "CNY").await, -400);
    let errors = fixture.dead_letters().await;
    assert_eq!(errors.len(), 1);
    assert!(errors[0].contains("refunds exceed it"), "{errors:?}");
}

#[tokio::test]
async fn an_event_id_stands_for_one_posting() {
    let fixture = start().await;
    let shop = fixture.shop();
    let event_id = EventId::new().to_string();
    let mut first = shop.paid(100).event();
    let mut second = shop.paid(200).event();
    first.event_id.clone_from(&event_id);
    second.event_id = event_id;
    fixture.happen([first]).await;
    fixture.happen([second]).await;
    assert_eq!(fixture.balance(&shop, AccountKind::MerchantPayable, "CNY").await, -100);
    assert_eq!(fixture.dead_letters().await.len(), 1);
}

#[tokio::test]
async fn a_batch_of_events_updates_each_account_once() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    fixture.happen([shop.paid(10_000).event()]).await; // the accounts exist
    for statement in [
        "create table account_updates (account_id uuid not null)",
        "create function note_update() returns trigger language plpgsql as
         $$ begin insert into account_updates values (new.account_id); return null; end $$",
        "create trigger note_update after update on account for each row execute function note_update()",
    ] {
        sqlx::query(statement).execute(&fixture.pool).await.unwrap();
    }
    // The reader waits when the events come, so they are one batch.
    fixture.happen((0..400).map(|_| shop.paid(10_000).event())).await;
    let updates: Vec<uuid::Uuid> =
        sqlx::query_scalar("select account_id from account_updates").fetch_all(&fixture.pool).await.unwrap();
    assert_eq!(updates.len(), 4, "one update for each of receivable, cost, payable and income");
    assert_eq!(updates.iter().collect::<HashSet<_>>().len(), 4);
    assert_eq!(fixture.balance(&shop, AccountKind::MerchantPayable, "CNY").await, -401 * 9_940);
}

#[tokio::test]
async fn a_service_that_was_killed_goes_on_where_it_stood() {
    let fixture = start().await;
    let shop = fixture.shop();
    fixture.happen([shop.paid(100).event()]).await;
    fixture.running.kill();
    fixture.payment.append([shop.paid(100).event(), shop.paid(100).event()]);
    let again =
        tael_testkit::run::<tael_settlement::App>(fixture.config.clone(), fixture.clock.clone()).await;
    eventually("all three", || async {
        let count = sqlx::query_scalar::<_, i64>("select count(*) from transfer").fetch_one(&fixture.pool);
        (count.await.unwrap() == 3).then_some(())
    })
    .await;
    again.stop().await;
}
