//! What the database refuses to have entered, whoever types it.

use sqlx::{AssertSqlSafe, PgConnection};
use tael_postgres::violated_constraint;
use uuid::Uuid;

use crate::by_hand::{ENTRIES, ITEMS, SUMS, fixture_with_postings, pay_by_hand, run, run_all};

/// Inserts entries of a transfer.
async fn enter_by_hand(tx: &mut PgConnection, id: Uuid, entries: &str) -> Result<(), sqlx::Error> {
    let sql = format!(
        "insert into entry (merchant_id, transfer_id, account_id, direction, amount_minor, currency)
         select t.merchant_id, t.transfer_id, a.account_id, e.direction, e.amount_minor, e.currency
         from (values {entries}) as e (kind, direction, amount_minor, currency)
         cross join transfer t
         join account a on a.merchant_id = t.merchant_id and a.kind = e.kind
         where t.transfer_id = '{id}'"
    );
    sqlx::query(AssertSqlSafe(sql)).execute(tx).await.map(drop)
}

#[tokio::test]
async fn entries_balance_and_are_what_their_transfer_says() {
    let (fixture, _) = fixture_with_postings().await;
    let right = "('channel_receivable', 'debit', 4981, 'CNY'), ('channel_cost', 'debit', 19, 'CNY'),
                 ('merchant_payable', 'credit', 4970, 'CNY'), ('fee_income', 'credit', 30, 'CNY')";
    let swapped = right.replace("4970", "0000").replace("30", "4970").replace("0000", "30");
    let turned = right.replace("credit", "x").replace("debit", "credit").replace('x', "debit");
    let to_payout = right.replace("merchant_payable", "payout_payable");
    let yen = right.replace("CNY", "JPY");
    let table = [
        (right, None),
        (
            "('channel_receivable', 'debit', 5, 'CNY'), ('merchant_payable', 'credit', 4, 'CNY')",
            Some("entry_balance"),
        ),
        (
            "('channel_receivable', 'debit', 5, 'CNY'), ('merchant_payable', 'debit', 5, 'CNY')",
            Some("entry_balance"),
        ),
        ("('channel_receivable', 'debit', 5, 'CNY')", Some("entry_balance")),
        (&yen, Some("entry_account")),
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
        (
            "('channel_receivable', 'debit', 5, 'CNY'), ('merchant_payable', 'credit', 5, 'CNY')",
            Some("entry_facts"),
        ),
        (
            "('channel_receivable', 'debit', 5000, 'CNY'), ('merchant_payable', 'credit', 5000, 'CNY')",
            Some("entry_facts"),
        ),
        (&swapped, Some("entry_facts")),
        (&turned, Some("entry_facts")),
        (&to_payout, Some("entry_facts")),
    ];
    for (entries, expected) in table {
        let mut tx = fixture.pool.begin().await.unwrap();
        let id = pay_by_hand(&mut tx).await;
        match (enter_by_hand(&mut tx, id, entries).await, expected) {
            (Ok(()), None) => {}
            (Err(error), Some(constraint)) => {
                assert_eq!(violated_constraint(&error), Some(constraint), "{entries}: {error}");
            }
            (result, expected) => panic!("{entries}: {result:?}, expected {expected:?}"),
        }
    }
}

#[tokio::test]
async fn nothing_is_added_to_what_was_posted() {
    let (fixture, _) = fixture_with_postings().await;
    // Balanced by itself, on an account that the batch's transfer leaves alone.
    for other in ["fee_income", "channel_cost"] {
        let more = format!(
            "insert into entry
             select t.merchant_id, t.transfer_id, a.account_id,
                    case a.kind when '{other}' then 'debit' else 'credit' end, 7, 'CNY'
             from transfer t join account a using (merchant_id)
             where t.kind = 'batch' and a.kind in ('{other}', 'channel_receivable')"
        );
        let error = run(&fixture.pool, &more).await.unwrap_err();
        assert_eq!(violated_constraint(&error), Some("entry_facts"), "{error}");
    }
    let again = "insert into entry select merchant_id, transfer_id, account_id, direction, amount_minor, currency from entry";
    let error = run(&fixture.pool, again).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("entry_pkey"), "{error}");
}

#[tokio::test]
async fn a_posting_is_whole_when_it_is_committed() {
    let (fixture, _) = fixture_with_postings().await;
    let table: [(&[&str], Option<&str>); 7] = [
        (&[ITEMS, ENTRIES, SUMS], None),
        (&[SUMS, ENTRIES, ITEMS, SUMS], None),
        (&[ITEMS], Some("unproven_transfer")),
        (&[ITEMS, ENTRIES], Some("unproven_account")),
        (&[ENTRIES, SUMS], Some("unproven_item")),
        (
            &[
                ITEMS,
                ENTRIES,
                SUMS,
                "update account set debits_minor = debits_minor + 1, credits_minor = credits_minor + 1",
            ],
            Some("unproven_account"),
        ),
        (&[ITEMS, "set constraints all immediate", ENTRIES, SUMS], Some("unproven_transfer")),
    ];
    for (statements, expected) in table {
        let mut tx = fixture.pool.begin().await.unwrap();
        pay_by_hand(&mut tx).await;
        let done = match run_all(&mut tx, statements).await {
            Ok(()) => tx.commit().await,
            Err(error) => Err(error),
        };
        let refused_by = done.as_ref().err().and_then(violated_constraint);
        assert_eq!(refused_by, expected, "{statements:?}: {done:?}");
    }
    fixture.checked().await;
    let left: i64 = sqlx::query_scalar("select count(*) from posting_check_queue")
        .fetch_one(&fixture.pool)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_accounts_sums_are_those_of_its_entries() {
    let (fixture, _) = fixture_with_postings().await;
    for (sql, expected) in [
        (
            "update account set debits_minor = debits_minor + 1 where kind = 'channel_cost'",
            "unproven_account",
        ),
        ("update account set credits_minor = 0 where kind = 'merchant_payable'", "unproven_account"),
        (
            "insert into account (merchant_id, account_id, kind, channel, currency, debits_minor)
             select merchant_id, gen_random_uuid(), kind, channel, 'JPY', 1 from account",
            "account_begins_empty",
        ),
    ] {
        let error = run(&fixture.pool, sql).await.unwrap_err();
        assert_eq!(violated_constraint(&error), Some(expected), "{sql}: {error}");
    }
    // What evens out within a transaction has changed nothing.
    let mut tx = fixture.pool.begin().await.unwrap();
    let there = "update account set debits_minor = debits_minor + 1";
    let back = "update account set debits_minor = debits_minor - 1";
    run_all(&mut tx, &[there, back]).await.unwrap();
    tx.commit().await.unwrap();
    fixture.checked().await;
}

#[tokio::test]
async fn one_statement_may_not_lean_on_the_next() {
    let (fixture, _) = fixture_with_postings().await;
    // Debit and credit in two statements of one transaction: refused at the first, not at the commit.
    let mut tx = fixture.pool.begin().await.unwrap();
    let half =
        "insert into entry select e.merchant_id, t.transfer_id, e.account_id, e.direction, 7, e.currency
                from entry e join transfer t on t.merchant_id = e.merchant_id and t.kind = 'batch'
                where e.direction = 'debit' and e.transfer_id <> t.transfer_id limit 1";
    let error = sqlx::query(half).execute(&mut *tx).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("entry_balance"), "{error}");
}

#[tokio::test]
async fn an_entry_needs_its_transfer_and_its_account() {
    let (fixture, _) = fixture_with_postings().await;
    let no_transfer = "insert into entry select merchant_id, gen_random_uuid(), account_id, direction, amount_minor, currency
                       from entry where transfer_id = (select transfer_id from transfer where kind = 'batch')";
    let error = run(&fixture.pool, no_transfer).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("entry_transfer"), "{error}");
    let no_account = "insert into entry select merchant_id, transfer_id, gen_random_uuid(), direction, amount_minor, currency
                      from entry where transfer_id = (select transfer_id from transfer where kind = 'batch')";
    let error = run(&fixture.pool, no_account).await.unwrap_err();
    assert_eq!(violated_constraint(&error), Some("entry_account"), "{error}");
}
