//! What the database itself refuses, by SQL as somebody might type it.

use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, PgPool};
use tael_postgres::violated_constraint;
use uuid::Uuid;

use crate::support::{Shop, World, start};

/// One posted payment with its refund, closed into a batch.
async fn world_with_postings() -> (World, Shop) {
    let world = start().await;
    let shop = world.shop_with_rates("0.006", "0.0038").await;
    let paid = shop.paid(10_000);
    world.happen([paid.event(), paid.refunded(1_000, 1_000).event()]).await;
    world.close(&shop, None).await.unwrap();
    world.happen([shop.paid(5_000).event()]).await;
    (world, shop)
}

async fn run(pool: &PgPool, sql: &str) -> Result<u64, sqlx::Error> {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(pool).await.map(|done| done.rows_affected())
}

fn code(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(DatabaseError::code).map(Into::into).unwrap_or_default()
}

#[tokio::test]
async fn what_was_posted_is_never_changed_or_removed() {
    let (world, _) = world_with_postings().await;
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
        "insert into transfer select * from transfer on conflict (merchant_id, transfer_id) do update set number = ''",
    ] {
        let error = run(&world.pool, sql).await.expect_err(sql);
        assert_eq!(code(&error), "23001", "{sql}: {error}");
    }
    world.checked().await;
}

/// Inserts a transfer like the newest payment's, with ids of its own, and then entries, in one transaction.
async fn post_by_hand(pool: &PgPool, entries: &str) -> Result<(), sqlx::Error> {
    let id = Uuid::from_u128(rand());
    let mut tx = pool.begin().await?;
    sqlx::query(
        "insert into transfer (merchant_id, transfer_id, kind, currency, gross_minor, fee_minor, channel_fee_minor,
             payment_id, channel, channel_account_id, number, fee_rate, channel_rate, occur_time, post_time, event_id)
         select merchant_id, $1, kind, currency, gross_minor, fee_minor, channel_fee_minor, $1, channel,
             channel_account_id, 'by hand', fee_rate, channel_rate, occur_time, post_time, $1
         from transfer where kind = 'payment' and gross_minor = 5000 limit 1",
    )
    .bind(id)
    .execute(&mut *tx)
    .await?;
    let sql = format!(
        "insert into entry (merchant_id, transfer_id, account_id, direction, amount_minor, currency)
         select t.merchant_id, t.transfer_id, a.account_id, e.direction, e.amount_minor, e.currency
         from (values {entries}) as e (kind, direction, amount_minor, currency)
         cross join transfer t
         join account a on a.merchant_id = t.merchant_id and a.kind = e.kind
         where t.transfer_id = '{id}'"
    );
    sqlx::query(AssertSqlSafe(sql)).execute(&mut *tx).await?;
    tx.commit().await
}

fn rand() -> u128 {
    tael_ids::EventId::new().uuid().as_u128()
}

#[tokio::test]
async fn entries_must_balance_per_transfer_and_currency() {
    let (world, _) = world_with_postings().await;
    let table = [
        ("('channel_receivable', 'debit', 5, 'CNY'), ('merchant_payable', 'credit', 5, 'CNY')", None),
        (
            "('channel_receivable', 'debit', 5, 'CNY'), ('merchant_payable', 'credit', 4, 'CNY')",
            Some("entry_balance"),
        ),
        (
            "('channel_receivable', 'debit', 5, 'CNY'), ('merchant_payable', 'debit', 5, 'CNY')",
            Some("entry_balance"),
        ),
        ("('channel_receivable', 'debit', 5, 'CNY')", Some("entry_balance")),
        (
            "('channel_receivable', 'debit', 5, 'USD'), ('merchant_payable', 'credit', 5, 'USD')",
            Some("entry_account"),
        ),
        (
            "('channel_receivable', 'debit', 5, 'CNY'), ('merchant_payable', 'credit', 5, 'USD')",
            Some("entry_account"),
        ),
        (
            "('channel_receivable', 'debit', 0, 'CNY'), ('merchant_payable', 'credit', 0, 'CNY')",
            Some("entry_amount_minor_check"),
        ),
        (
            "('channel_receivable', 'debit', -5, 'CNY'), ('merchant_payable', 'credit', -5, 'CNY')",
            Some("entry_amount_minor_check"),
        ),
        (
            "('channel_receivable', 'both', 5, 'CNY'), ('merchant_payable', 'credit', 5, 'CNY')",
            Some("entry_direction_check"),
        ),
    ];
    for (entries, expected) in table {
        match (post_by_hand(&world.pool, entries).await, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(constraint)) => {
                assert_eq!(violated_constraint(&error), Some(constraint), "{entries}: {error}");
            }
            (result, expected) => panic!("{entries}: {result:?}, expected {expected:?}"),
        }
    }
}

#[tokio::test]
async fn one_statement_may_not_lean_on_the_next() {
    let (world, _) = world_with_postings().await;
    // Debit and credit in two statements of one transaction: refused at the first, not at the commit.
    let mut tx = world.pool.begin().await.unwrap();
    let half =
        "insert into entry select e.merchant_id, t.transfer_id, e.account_id, e.direction, 7, e.currency
                from entry e join transfer t on t.merchant_id = e.merchant_id and t.kind = 'batch'
                where e.direction = 'debit' and e.transfer_id <> t.transfer_id limit 1";
    let error = sqlx::query(half).execute(&mut *tx).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("entry_balance"), "{error}");
}

#[tokio::test]
async fn an_entry_needs_its_transfer_and_its_account() {
    let (world, _) = world_with_postings().await;
    let no_transfer = "insert into entry select merchant_id, gen_random_uuid(), account_id, direction, amount_minor, currency
                       from entry where transfer_id = (select transfer_id from transfer where kind = 'batch')";
    let error = run(&world.pool, no_transfer).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("entry_transfer"), "{error}");
    let no_account = "insert into entry select merchant_id, transfer_id, gen_random_uuid(), direction, amount_minor, currency
                      from entry where transfer_id = (select transfer_id from transfer where kind = 'batch')";
    let error = run(&world.pool, no_account).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("entry_account"), "{error}");
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
    let (world, _) = world_with_postings().await;
    let ceiling = Some("transfer_refund_ceiling");
    for (gross, fee, total, expected) in [
        (9_001, 0, 10_000, ceiling),
        (1, 60, 1_001, Some("transfer_check")),
        (100, 55, 1_100, ceiling), // the fee was 60, of which 6 went back
        (500, 0, 1_000, Some("transfer_refunds_of_payment")),
    ] {
        let error = run(&world.pool, &refund_by_hand(gross, fee, total)).await.unwrap_err();
        assert_eq!(violated_constraint(&error), expected, "{gross} {fee} {total}: {error}");
    }
    let orphan = refund_by_hand(5, 0, 5).replace("0, payment_id,", "0, gen_random_uuid(),");
    let error = run(&world.pool, &orphan).await.unwrap_err();
    assert_eq!(violated_constraint(&error), ceiling, "{error}");
    assert_eq!(run(&world.pool, &refund_by_hand(9_000, 54, 10_000)).await.unwrap(), 1);
}

#[tokio::test]
async fn refunds_of_one_payment_at_once_count_each_other() {
    let (world, _) = world_with_postings().await;
    // Each alone would fit; both together exceed the payment.
    let (mut first, mut second) = (world.pool.begin().await.unwrap(), world.pool.begin().await.unwrap());
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
        waits.fetch_one(&world.pool).await.unwrap().then_some(())
    })
    .await;
    first.commit().await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(violated_constraint(&error), Some("transfer_refund_ceiling"), "{error}");
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
    let (world, _) = world_with_postings().await;
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
        let error = run(&world.pool, &sql).await.unwrap_err();
        assert_eq!(violated_constraint(&error), Some(expected), "{sql}: {error}");
    }
    assert_eq!(run(&world.pool, &close_by_hand(1, 5_000, 30, 0, 4_970)).await.unwrap(), 1);
}

#[tokio::test]
async fn batches_come_with_what_they_take_and_take_it_once() {
    let (world, shop) = world_with_postings().await;
    let empty = "insert into batch (merchant_id, batch_id, currency, cut_off_time, payment_count, refund_count,
                     gross_minor, refunds_minor, fees_minor, fees_returned_minor, net_minor, close_time,
                     idempotency_key, fingerprint)
                 select merchant_id, gen_random_uuid(), currency, cut_off_time, 1, 0, 5000, 0, 30, 0, 4970, close_time,
                     'by hand', '' from batch";
    let error = run(&world.pool, empty).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("batch_takes"), "{error}");

    let more = "update batch_item set batch_id = (select batch_id from batch) where batch_id is null";
    let error = run(&world.pool, more).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("batch_sums"), "{error}");

    let born_taken = "insert into batch_item (merchant_id, transfer_id, currency, occur_time, batch_id)
                      select merchant_id, gen_random_uuid(), currency, occur_time, (select batch_id from batch)
                      from batch_item limit 1";
    let error = run(&world.pool, born_taken).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("batch_item_waits"), "{error}");

    let again = "insert into batch_item (merchant_id, transfer_id, currency, occur_time)
                 select merchant_id, transfer_id, currency, occur_time from batch_item";
    let error = run(&world.pool, again).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("batch_item_pkey"), "{error}");

    world.close(&shop, None).await.unwrap();
    let taken =
        "update batch_item set batch_id = (select batch_id from batch order by batch_id desc limit 1)";
    assert_eq!(code(&run(&world.pool, taken).await.unwrap_err()), "23001");
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
    let (world, shop) = world_with_postings().await;
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
        let error = run(&world.pool, &suspend_by_hand(kind, otherwise)).await.unwrap_err();
        assert_eq!(violated_constraint(&error), expected, "{kind} {otherwise:?}: {error}");
    }

    let late = shop.paid(5_001);
    world.orders_tell([late.held()]).await;
    let of_late = format!("'{}'", late.payment_id.uuid());
    let of_late = ("payment_id", of_late.as_str());
    for (kind, otherwise, expected) in [
        ("hold", vec![of_late], Some("transfer_hold")),
        ("release", vec![of_late], ceiling), // of 5 000
        ("release", vec![of_late, ("gross_minor", "5002")], ceiling),
        ("release", vec![of_late, ("gross_minor", "5001"), ("currency", "'USD'")], ceiling),
        ("release", vec![of_late, ("gross_minor", "5001"), ("merchant_id", "gen_random_uuid()")], ceiling),
    ] {
        let error = run(&world.pool, &suspend_by_hand(kind, &otherwise)).await.unwrap_err();
        assert_eq!(violated_constraint(&error), expected, "{kind} {otherwise:?}: {error}");
    }
    world.orders_tell([late.released(true)]).await;
    let again = suspend_by_hand("release", &[of_late, ("gross_minor", "5001")]);
    let error = run(&world.pool, &again).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("transfer_release"), "{error}");
}

#[tokio::test]
async fn the_check_finds_what_was_tampered_with() {
    let (world, _) = world_with_postings().await;
    // The sums of accounts are the one thing that SQL may change; and triggers can be switched off.
    for sql in [
        "update account set debits_minor = debits_minor + 1 where kind = 'channel_cost'",
        "alter table entry disable trigger all",
        "update entry set amount_minor = amount_minor + 1 where direction = 'credit' and amount_minor = 9940",
        "alter table entry enable trigger all",
    ] {
        run(&world.pool, sql).await.unwrap();
    }
    let check = world.client.clone().check_ledger(tael_proto::settlement::v1::CheckLedgerRequest {}).await;
    let check = check.unwrap().into_inner();
    assert_eq!(check.unbalanced_transfer_ids.len(), 1);
    assert_eq!(check.wrong_account_ids.len(), 2);
    assert_eq!(
        check.sums[0].debits.as_ref().unwrap().minor + 1,
        check.sums[0].credits.as_ref().unwrap().minor
    );
}
