//! What the database itself refuses, by SQL as somebody might type it.

use sqlx::AssertSqlSafe;
use tael_postgres::violated_constraint;

use crate::by_hand::{ENTRIES, ITEMS, SUMS, code, fixture_with_postings, run, run_all};
use crate::fixture::start;

#[tokio::test]
async fn what_was_posted_is_never_changed_or_removed() {
    let (fixture, _) = fixture_with_postings().await;
    for sql in [
        "update transfer set gross_minor = gross_minor + 1",
        "update transfer set occur_time = now() where false",
        "delete from transfer",
        "truncate transfer",
        "update entry set amount_minor = 1",
        "delete from entry where amount_minor = 60",
        "truncate entry",
        "update batch set net_minor = net_minor",
        "delete from batch",
        "truncate batch cascade",
        "update fee_schedule set rate = 0",
        "delete from fee_schedule",
        "truncate fee_schedule",
        "delete from account",
        "truncate account",
        "update account set currency = 'USD'",
        "update account set kind = 'fee_income'",
        "delete from batch_item",
        "truncate batch_item",
        "update batch_item set occur_time = now()",
        "update batch_item set batch_id = null",
        "update posting_check_queue set merchant_ids = '{}'",
        "delete from posting_check_queue",
        "truncate posting_check_queue",
        "update transfer_kind set of_refund = true",
        "delete from posting_rule where component = 'fee'",
        "update posting_rule set direction = 'debit'",
        "truncate posting_rule",
        "update component_kind set is_signed = true",
        "truncate component_kind cascade",
        "truncate transfer_kind cascade",
        "update batch_line set amount_minor = 0",
        "delete from batch_line",
        "truncate batch_line",
        "insert into batch_line select merchant_id, batch_id, 'hold', 'held', 1, 1 from batch",
        "update unproven set merchant_ids = '{}'",
        "delete from unproven",
        "truncate unproven",
        "insert into transfer select * from transfer on conflict (merchant_id, transfer_id) do update set number = ''",
    ] {
        let error = run(&fixture.pool, sql).await.expect_err(sql);
        assert_eq!(code(&error), "23001", "{sql}: {error}");
    }
    fixture.checked().await;
}

/// A refund of the payment of 10 000, of which 1 000 was refunded, by hand.
fn refund_by_hand(gross: i64, fee: i64, total: i64) -> String {
    format!(
        "insert into transfer (merchant_id, transfer_id, kind, currency, gross_minor, fee_minor, channel_fee_minor,
             payment_id, refund_id, channel, channel_account_id, number, refunded_total_minor, occur_time, post_time,
             event_id)
         select merchant_id, gen_random_uuid(), 'refund', currency, {gross}, {fee}, 0, payment_id, gen_random_uuid(),
             channel, channel_account_id, 'by hand', {total}, occur_time, post_time, gen_random_uuid()
         from transfer where kind = 'payment' and gross_minor = 10000"
    )
}

#[tokio::test]
async fn refunds_never_exceed_their_payment() {
    let (fixture, _) = fixture_with_postings().await;
    let ceiling = Some("transfer_refund_ceiling");
    for (gross, fee, total, expected) in [
        (9_001, 0, 10_000, ceiling),
        (1, 60, 1_001, Some("transfer_check")),
        (100, 55, 1_100, ceiling), // the fee was 60, of which 6 went back
        (500, 0, 1_000, Some("transfer_refunds_of_payment")),
    ] {
        let error = run(&fixture.pool, &refund_by_hand(gross, fee, total)).await.unwrap_err();
        assert_eq!(violated_constraint(&error), expected, "{gross} {fee} {total}: {error}");
    }
    let orphan = refund_by_hand(5, 0, 5).replace("0, payment_id,", "0, gen_random_uuid(),");
    let error = run(&fixture.pool, &orphan).await.unwrap_err();
    assert_eq!(violated_constraint(&error), ceiling, "{error}");
    let mut tx = fixture.pool.begin().await.unwrap();
    run_all(&mut tx, &[&refund_by_hand(9_000, 54, 10_000), ITEMS, ENTRIES, SUMS]).await.unwrap();
    tx.commit().await.unwrap();
    fixture.checked().await;
}

#[tokio::test]
async fn refunds_of_one_payment_at_once_count_each_other() {
    let (fixture, _) = fixture_with_postings().await;
    // Each alone would fit; both together exceed the payment.
    let (mut first, mut second) = (fixture.pool.begin().await.unwrap(), fixture.pool.begin().await.unwrap());
    sqlx::query(AssertSqlSafe(refund_by_hand(5_000, 0, 6_000))).execute(&mut *first).await.unwrap();
    let waiting = tokio::spawn(async move {
        let result = sqlx::query(AssertSqlSafe(refund_by_hand(5_000, 0, 9_000))).execute(&mut *second).await;
        result.map(drop)
    });
    tael_testkit::eventually("the second to wait for the first", || async {
        let waits = sqlx::query_scalar::<_, bool>(
            "select exists (select from pg_stat_activity
                            where datname = current_database() and wait_event_type = 'Lock')",
        );
        waits.fetch_one(&fixture.pool).await.unwrap().then_some(())
    })
    .await;
    run_all(&mut first, &[ITEMS, ENTRIES, SUMS]).await.unwrap();
    first.commit().await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(violated_constraint(&error), Some("transfer_refund_ceiling"), "{error}");
}

#[tokio::test]
async fn a_comparison_that_was_made_stays() {
    let (fixture, _) = fixture_with_postings().await;
    let made = [
        "insert into reconciliation (merchant_id, reconciliation_id, channel_account_id, bill_date, state, create_time,
             bill_lines, matched, break_count, idempotency_key, fingerprint)
         select merchant_id, gen_random_uuid(), channel_account_id, '2026-11-20', 'done', now(), 1, 0, 1, 'by hand', ''
         from transfer where kind = 'refund'",
        "insert into reconciliation_break (merchant_id, reconciliation_id, position, kind, number, bill_currency,
             bill_amount_minor, bill_fee_minor)
         select merchant_id, reconciliation_id, 1, 'missing_in_ledger', 'x', 'CNY', 1, 0 from reconciliation",
    ];
    for sql in made {
        assert_eq!(run(&fixture.pool, sql).await.unwrap(), 1);
    }
    for sql in [
        "update reconciliation set break_count = 0, matched = 1",
        "update reconciliation set state = 'reading', bill_lines = null, matched = null, break_count = null,
             idempotency_key = null, fingerprint = null",
        "delete from reconciliation",
        "update reconciliation_break set bill_amount_minor = 2",
        "delete from reconciliation_break",
    ] {
        assert_eq!(code(&run(&fixture.pool, sql).await.unwrap_err()), "23001", "{sql}");
    }
}

/// A hold or release like the payment's of 5 000, with these columns set otherwise.
fn suspend_by_hand(kind: &str, otherwise: &[(&str, &str)]) -> String {
    let columns = [
        ("merchant_id", "merchant_id"),
        ("transfer_id", "gen_random_uuid()"),
        ("kind", &format!("'{kind}'")),
        ("currency", "currency"),
        ("gross_minor", "gross_minor"),
        ("fee_minor", "0"),
        ("channel_fee_minor", "0"),
        ("payment_id", "payment_id"),
        ("refund_id", "null::uuid"),
        ("batch_id", "null::uuid"),
        ("channel", "null"),
        ("number", "null"),
        ("occur_time", "occur_time"),
        ("post_time", "post_time"),
        ("event_id", "gen_random_uuid()"),
    ];
    let values = columns.map(|(column, value)| {
        otherwise.iter().find(|(name, _)| *name == column).map_or(value, |(_, value)| *value).to_owned()
    });
    format!(
        "insert into transfer ({}) select {} from transfer where kind = 'payment' and gross_minor = 5000",
        columns.map(|(column, _)| column).join(", "),
        values.join(", ")
    )
}

#[tokio::test]
async fn a_payment_is_held_once_and_released_once_in_the_same_amount() {
    let (fixture, shop) = fixture_with_postings().await;
    let facts = Some("transfer_facts");
    let ceiling = Some("transfer_release_ceiling");
    let table: [(&str, &[(&str, &str)], _); 11] = [
        ("hold", &[("fee_minor", "1")], facts),
        ("hold", &[("channel_fee_minor", "1")], facts),
        ("hold", &[("channel", "'alipay'")], facts),
        ("hold", &[("number", "number")], facts),
        ("hold", &[("payment_id", "null::uuid")], facts),
        ("hold", &[("refund_id", "gen_random_uuid()")], facts),
        ("hold", &[("batch_id", "gen_random_uuid()")], facts),
        ("hold", &[("event_id", "null::uuid")], facts),
        ("hold", &[("gross_minor", "0")], Some("transfer_gross_minor_check")),
        ("hold", &[("event_id", "event_id")], Some("transfer_event")),
        ("release", &[], ceiling),
    ];
    for (kind, otherwise, expected) in table {
        let error = run(&fixture.pool, &suspend_by_hand(kind, otherwise)).await.unwrap_err();
        assert_eq!(violated_constraint(&error), expected, "{kind} {otherwise:?}: {error}");
    }

    let late = shop.paid(5_001);
    fixture.orders_tell([late.held()]).await;
    let of_late = format!("'{}'", late.payment_id.uuid());
    let of_late = ("payment_id", of_late.as_str());
    for (kind, otherwise, expected) in [
        ("hold", vec![of_late], Some("transfer_hold")),
        ("release", vec![of_late], ceiling), // of 5 000
        ("release", vec![of_late, ("gross_minor", "5002")], ceiling),
        ("release", vec![of_late, ("gross_minor", "5001"), ("currency", "'USD'")], ceiling),
        ("release", vec![of_late, ("gross_minor", "5001"), ("merchant_id", "gen_random_uuid()")], ceiling),
    ] {
        let error = run(&fixture.pool, &suspend_by_hand(kind, &otherwise)).await.unwrap_err();
        assert_eq!(violated_constraint(&error), expected, "{kind} {otherwise:?}: {error}");
    }
    fixture.orders_tell([late.released(true)]).await;
    let again = suspend_by_hand("release", &[of_late, ("gross_minor", "5001")]);
    let error = run(&fixture.pool, &again).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("transfer_release"), "{error}");
}

#[tokio::test]
async fn the_check_finds_what_was_tampered_with() {
    let (fixture, _) = fixture_with_postings().await;
    // Whoever owns the tables can switch triggers off.
    for sql in [
        "alter table account disable trigger all",
        "update account set debits_minor = debits_minor + 1 where kind = 'channel_cost'",
        "alter table account enable trigger all",
        "alter table entry disable trigger all",
        "update entry set amount_minor = amount_minor + 1 where direction = 'credit' and amount_minor = 9940",
        "alter table entry enable trigger all",
    ] {
        run(&fixture.pool, sql).await.unwrap();
    }
    let check = fixture.ledger.clone().check_ledger(tael_proto::settlement::v1::CheckLedgerRequest {}).await;
    let check = check.unwrap().into_inner();
    assert_eq!(check.unbalanced_transfer_ids.len(), 1);
    assert_eq!(check.wrong_account_ids.len(), 2);
    assert_eq!(
        check.sums[0].debits.as_ref().unwrap().minor + 1,
        check.sums[0].credits.as_ref().unwrap().minor
    );
}

#[tokio::test]
async fn a_transfer_is_made_of_what_its_kind_is_made_of() {
    let (fixture, _) = fixture_with_postings().await;
    let facts = Some("transfer_facts");
    for (kind, components, expected) in [
        ("payment", r#"{"received": 5000, "fee": 30, "channel_fee": 19}"#, None),
        ("payment", r#"{"received": 4500, "coupon": 500, "fee": 30, "channel_fee": 19}"#, None),
        ("payment", r#"{"received": 4500, "coupon": 501, "fee": 30, "channel_fee": 19}"#, facts),
        ("payment", r#"{"received": 5000, "fee": 31, "channel_fee": 19}"#, facts), // its column says 30
        ("payment", r#"{"received": 5000, "fee": 30}"#, facts),
        ("payment", r#"{"received": 5000, "coupon": 0, "fee": 30, "channel_fee": 19}"#, facts),
        ("payment", r#"{"received": 5000.5, "fee": 30, "channel_fee": 19}"#, facts),
        ("payment", r#"{"received": "5000", "fee": 30, "channel_fee": 19}"#, facts),
        ("payment", r#"{"received": 5500, "coupon": -500, "fee": 30, "channel_fee": 19}"#, facts),
        ("payment", r#"{"received": 5000, "fee": 30, "channel_fee": 19, "tip": 5}"#, facts),
        ("payment", r#"{"held": 5000, "fee": 30, "channel_fee": 19}"#, facts),
        ("payment", "{}", facts),
        ("payment", "[5000]", facts),
        ("gift", r#"{"received": 5000}"#, Some("transfer_kind_check")),
    ] {
        let mut tx = fixture.pool.begin().await.unwrap();
        let done = sqlx::query(AssertSqlSafe(format!(
            "insert into transfer (merchant_id, transfer_id, kind, currency, gross_minor, fee_minor, channel_fee_minor,
                 payment_id, channel, channel_account_id, number, fee_rate, channel_rate, occur_time, post_time,
                 event_id, components)
             select merchant_id, gen_random_uuid(), '{kind}', currency, gross_minor, fee_minor, channel_fee_minor,
                 gen_random_uuid(), channel, channel_account_id, 'by hand', fee_rate, channel_rate, occur_time,
                 post_time, gen_random_uuid(), '{components}'
             from transfer where kind = 'payment' and gross_minor = 5000"
        )))
        .execute(&mut *tx)
        .await;
        let refused_by = done.as_ref().err().and_then(violated_constraint);
        assert_eq!(refused_by, expected, "{kind} {components}: {done:?}");
    }
}

#[tokio::test]
async fn the_build_before_is_refused_what_it_can_t_count() {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    fixture.happen([shop.paid(10_000).of_which_received(9_500).event()]).await;
    // It would give back all 50.00 where the channel takes 47.50. Another replica will do it rightly.
    let error = run(&fixture.pool, &refund_by_hand(5_000, 30, 5_000)).await.unwrap_err();
    assert_eq!(code(&error), "40001", "{error}");
    // It would owe the merchant the coupon, too.
    let close = "with taken as (
             update batch_item set batch_id = '00000000-0000-0000-0000-000000000001' where batch_id is null
         )
         insert into batch (merchant_id, batch_id, currency, cut_off_time, payment_count, refund_count, gross_minor,
             refunds_minor, fees_minor, fees_returned_minor, net_minor, close_time, idempotency_key, fingerprint)
         select merchant_id, '00000000-0000-0000-0000-000000000001', currency, now(), 1, 0, gross_minor, 0, fee_minor,
             0, gross_minor - fee_minor, now(), 'by hand', '' from transfer";
    let error = run(&fixture.pool, close).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("batch_sums"), "{error}");
    assert_eq!(fixture.close(&shop, None).await.unwrap().net.unwrap().minor, 9_500 - 57);
    fixture.checked().await;
}

#[tokio::test]
async fn rules_balance() {
    let fixture = start().await;
    let lonely = "insert into posting_rule values ('payment', 'coupon', 'suspense', 'debit')";
    let error = run(&fixture.pool, lonely).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("posting_rule_balance"), "{error}");
}

/// A new kind of transfer is rows: the same guards watch it.
#[tokio::test]
async fn a_new_kind_of_transfer_is_rows() {
    let (fixture, _) = fixture_with_postings().await;
    let mut tx = fixture.pool.begin().await.unwrap();
    let rows = [
        "insert into transfer_kind values ('bonus', true, false, false, false, true, true)",
        "insert into component_kind values ('bonus', 'granted', true, false), ('bonus', 'tax', false, false)",
        "insert into posting_rule values ('bonus', 'granted', 'fee_income', 'debit'),
             ('bonus', 'granted', 'merchant_payable', 'credit'), ('bonus', 'tax', 'merchant_payable', 'debit'),
             ('bonus', 'tax', 'fee_income', 'credit')",
    ];
    run_all(&mut tx, &rows).await.unwrap();
    tx.commit().await.unwrap();

    let transfer = "insert into transfer (merchant_id, transfer_id, kind, currency, gross_minor, fee_minor,
            channel_fee_minor, payment_id, occur_time, post_time, event_id, components)
        select merchant_id, '00000000-0000-0000-0000-00000000000b', 'bonus', currency, 700, 0, 0, payment_id, occur_time,
            post_time, gen_random_uuid(), '{\"granted\": 700, \"tax\": 70}'
        from transfer where kind = 'payment' and gross_minor = 5000";
    let entries = |payable: i64| {
        format!(
            "insert into entry
             select t.merchant_id, t.transfer_id, a.account_id, e.direction, {payable}, t.currency
             from transfer t
             cross join (values ('fee_income', 'debit'), ('merchant_payable', 'credit')) e (kind, direction)
             join account a on a.merchant_id = t.merchant_id and a.kind = e.kind
             where t.kind = 'bonus'"
        )
    };
    for (statements, expected) in [
        (vec![transfer.to_owned(), ITEMS.to_owned(), entries(700), SUMS.to_owned()], Some("entry_facts")),
        (vec![transfer.to_owned(), entries(630), SUMS.to_owned()], Some("unproven_item")),
        (vec![transfer.to_owned(), ITEMS.to_owned()], Some("unproven_transfer")),
        (vec![transfer.to_owned(), ITEMS.to_owned(), entries(630), SUMS.to_owned()], None),
        // Once.
        (vec![transfer.replace("00000000b", "00000000c")], Some("transfer_once")),
    ] {
        let mut tx = fixture.pool.begin().await.unwrap();
        let done = match run_all(&mut tx, &statements.iter().map(String::as_str).collect::<Vec<_>>()).await {
            Ok(()) => tx.commit().await,
            Err(error) => Err(error),
        };
        assert_eq!(done.as_ref().err().and_then(violated_constraint), expected, "{statements:?}: {done:?}");
    }
    // A batch takes it, with the payment of 5 000 and its fee of 30: what it brings is owed.
    let close = |other: i64, net: i64| {
        format!(
            "with taken as (
                 update batch_item set batch_id = '00000000-0000-0000-0000-000000000001' where batch_id is null
             )
             insert into batch (merchant_id, batch_id, currency, cut_off_time, payment_count, refund_count,
                 gross_minor, refunds_minor, fees_minor, fees_returned_minor, net_minor, other_minor, close_time,
                 idempotency_key, fingerprint)
             select merchant_id, '00000000-0000-0000-0000-000000000001', currency, cut_off_time, 1, 0, 5000, 0, 30, 0,
                 {net}, {other}, close_time, 'by hand', '' from batch"
        )
    };
    for (other, net, expected) in [
        (0, 4_970, "batch_sums"),
        (630, 4_970, "batch_adds_up"),
        (631, 5_601, "batch_sums"),
        (630, 5_600, "unproven_batch"), // right, but for the transfer that moves it
    ] {
        let error = run(&fixture.pool, &close(other, net)).await.unwrap_err();
        assert_eq!(violated_constraint(&error), Some(expected), "{other} {net}: {error}");
    }
}
