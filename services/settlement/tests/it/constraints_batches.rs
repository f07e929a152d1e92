//! What the database refuses to take into batches, whoever types it.

use tael_postgres::violated_constraint;

use crate::by_hand::{ITEMS, SUMS, code, fixture_with_postings, pay_by_hand, run, run_all};

#[tokio::test]
async fn only_what_moved_waits_for_a_batch() {
    let (fixture, _) = fixture_with_postings().await;
    let waiting = |transfer: &str, currency: &str, time: &str| {
        format!(
            "insert into batch_item (merchant_id, transfer_id, currency, occur_time)
             select merchant_id, {transfer}, {currency}, {time} from transfer where kind = 'batch'"
        )
    };
    for sql in [
        waiting("gen_random_uuid()", "currency", "occur_time"),
        waiting("transfer_id", "currency", "occur_time"),
    ] {
        let error = run(&fixture.pool, &sql).await.unwrap_err();
        assert_eq!(violated_constraint(&error), Some("batch_item_transfer"), "{sql}: {error}");
    }
    for wrong in [
        ITEMS.replace(" currency, occur_time from", " 'USD', occur_time from"),
        ITEMS.replace(" occur_time from", " now() from"),
    ] {
        let mut tx = fixture.pool.begin().await.unwrap();
        pay_by_hand(&mut tx).await;
        let error = run_all(&mut tx, &[&wrong]).await.unwrap_err();
        assert_eq!(violated_constraint(&error), Some("batch_item_transfer"), "{wrong}: {error}");
    }
}

/// Takes what waits, the payment of 5 000 with its fee of 30, into a batch with these sums, in one statement.
fn close_by_hand(payments: i64, gross: i64, fees: i64, held: i64, net: i64) -> String {
    format!(
        "with taken as (
             update batch_item set batch_id = '00000000-0000-0000-0000-000000000001' where batch_id is null
         )
         insert into batch (merchant_id, batch_id, currency, cut_off_time, payment_count, refund_count, gross_minor,
             refunds_minor, fees_minor, fees_returned_minor, held_minor, net_minor, close_time, idempotency_key,
             fingerprint)
         select merchant_id, '00000000-0000-0000-0000-000000000001', currency, cut_off_time, {payments}, 0, {gross},
             0, {fees}, 0, {held}, {net}, close_time, 'by hand', '' from batch"
    )
}

#[tokio::test]
async fn batches_add_up_to_what_they_take() {
    let (fixture, _) = fixture_with_postings().await;
    for (payments, gross, fees, held, net, expected) in [
        (1, 5_000, 30, 0, 5_000, "batch_adds_up"),
        (1, 5_000, 30, 10, 4_970, "batch_adds_up"),
        (1, 5_000, 30, -10, 4_980, "batch_held_minor_check"),
        (0, 0, 0, 0, 0, "batch_not_empty"),
        (1, 5_001, 30, 0, 4_971, "batch_sums"),
        (1, 5_000, 29, 0, 4_971, "batch_sums"),
        (2, 5_000, 30, 0, 4_970, "batch_sums"),
        (1, 5_000, 30, 10, 4_960, "batch_sums"),
    ] {
        let sql = close_by_hand(payments, gross, fees, held, net);
        let error = run(&fixture.pool, &sql).await.unwrap_err();
        assert_eq!(violated_constraint(&error), Some(expected), "{sql}: {error}");
    }
    let right = close_by_hand(1, 5_000, 30, 0, 4_970);
    let error = run(&fixture.pool, &right).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("unproven_batch"), "{error}");

    let moving = |minor: i64| {
        format!(
            "insert into transfer (merchant_id, transfer_id, kind, currency, gross_minor, fee_minor, channel_fee_minor,
                 batch_id, occur_time, post_time)
             select merchant_id, gen_random_uuid(), 'batch', currency, {minor}, 0, 0, batch_id, close_time, close_time
             from batch where idempotency_key = 'by hand'"
        )
    };
    let entered = |payable: &str, payout: &str| {
        format!(
            "insert into entry
             select t.merchant_id, t.transfer_id, a.account_id,
                    case a.kind when 'merchant_payable' then '{payable}' else '{payout}' end, t.gross_minor, t.currency
             from transfer t join batch b using (batch_id)
             join account a on a.merchant_id = t.merchant_id and a.kind in ('merchant_payable', 'payout_payable')
             where b.idempotency_key = 'by hand'"
        )
    };
    for (minor, payable, payout, expected) in [
        (4_971, "debit", "credit", Some("transfer_batch_net")),
        (4_970, "credit", "debit", Some("entry_facts")), // the merchant would owe it
        (4_970, "debit", "credit", None),
    ] {
        let mut tx = fixture.pool.begin().await.unwrap();
        let (transfer, entries) = (moving(minor), entered(payable, payout));
        let done = match run_all(&mut tx, &[&right, &transfer, &entries, SUMS]).await {
            Ok(()) => tx.commit().await,
            Err(error) => Err(error),
        };
        assert_eq!(
            done.as_ref().err().and_then(violated_constraint),
            expected,
            "{minor} {payable}: {done:?}"
        );
    }
    fixture.checked().await;
}

#[tokio::test]
async fn batches_come_with_what_they_take_and_take_it_once() {
    let (fixture, shop) = fixture_with_postings().await;
    let empty = "insert into batch (merchant_id, batch_id, currency, cut_off_time, payment_count, refund_count,
                     gross_minor, refunds_minor, fees_minor, fees_returned_minor, net_minor, close_time,
                     idempotency_key, fingerprint)
                 select merchant_id, gen_random_uuid(), currency, cut_off_time, 1, 0, 5000, 0, 30, 0, 4970, close_time,
                     'by hand', '' from batch";
    let error = run(&fixture.pool, empty).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("batch_takes"), "{error}");

    let more = "update batch_item set batch_id = (select batch_id from batch) where batch_id is null";
    let error = run(&fixture.pool, more).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("batch_sums"), "{error}");

    let born_taken = "insert into batch_item (merchant_id, transfer_id, currency, occur_time, batch_id)
                      select merchant_id, gen_random_uuid(), currency, occur_time, (select batch_id from batch)
                      from batch_item limit 1";
    let error = run(&fixture.pool, born_taken).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("batch_item_waits"), "{error}");

    let again = "insert into batch_item (merchant_id, transfer_id, currency, occur_time)
                 select merchant_id, transfer_id, currency, occur_time from batch_item";
    let error = run(&fixture.pool, again).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("batch_item_pkey"), "{error}");

    fixture.close(&shop, None).await.unwrap();
    let taken =
        "update batch_item set batch_id = (select batch_id from batch order by batch_id desc limit 1)";
    assert_eq!(code(&run(&fixture.pool, taken).await.unwrap_err()), "23001");
}
