//! Every migration only expands: what the build before reads is there, and what it writes is taken.

use sqlx::{AssertSqlSafe, PgPool};
use tael_testkit::TestDatabase;

use crate::catalogue::Catalogue;
use crate::{migrate_to, services};

/// What a migration demands anew of tables that were there before, each with why the build before fulfils it.
const JUDGED: &[(&str, i64, &[&str])] = &[
    (
        "notification",
        2,
        &[
            // Only on columns that are new, whose defaults fulfil them.
            "webhook_endpoint.webhook_endpoint_disable_reason_check",
            "webhook_endpoint.webhook_endpoint_failures_check",
            "webhook_endpoint.webhook_endpoint_pauses_check",
            // Of rows that only a build of this level gives the id.
            "delivery_attempt.btree (merchant_id, delivery_id, attempt_id)",
        ],
    ),
    // Only on columns that are new, whose defaults fulfil them.
    ("refund", 2, &["refund.refund_force_reason_check"]),
    (
        "order",
        2,
        &[
            // Only on columns that are new, whose defaults fulfil them.
            "held_payment.held_payment_reason_check",
            "held_payment.held_payment_state_check",
            "held_payment.held_payment_operator_check",
            "held_payment.held_payment_tries_check",
            "held_payment.held_payment_way",
            // Required, and filled in by the trigger of the same name where it is left out.
            "held_payment.reason",
            "held_payment.held_payment_reason",
            // Of rows that only a build of this level makes.
            "held_payment.btree (merchant_id, order_id) WHERE (state = 'accepted'::text)",
            "held_payment.btree (merchant_id, refund_id) WHERE (refund_id IS NOT NULL)",
        ],
    ),
    (
        "order",
        3,
        &[
            // Only on columns that are new, whose defaults fulfil them. A build before that would redeem or take back what
            // a build of this level has set aside must not.
            "voucher.voucher_reserved_check",
            "voucher.voucher_not_overused",
            // Rows that no build removes.
            "voucher_reservation.voucher_reservation_merchant_id_order_id_fkey",
            "voucher_reservation_use.voucher_reservation_use_merchant_id_voucher_id_fkey",
        ],
    ),
    (
        "order",
        4,
        &[
            // Wider than what they replace.
            "orders.orders_items_minor_check",
            "orders.orders_total_minor_check",
            "orders.orders_paid_by_payment",
            "order_line.order_line_unit_price_minor_check",
            // Of rows that only a build of this level makes.
            "orders.btree (merchant_id, merchant_reference) WHERE reference_is_unique",
            // Rows that no build removes.
            "voucher_void.voucher_void_merchant_id_voucher_id_fkey",
        ],
    ),
    (
        "payment",
        3,
        &[
            // Wider than what it replaces.
            "payment.payment_state_check",
            "attempt.attempt_state_check",
            "attempt.attempt_pending_action",
            "attempt.attempt_asked_while_open",
            // The one channel that the build before knows is there.
            "channel_account.channel_account_channel",
            "attempt.attempt_channel",
            // Only on columns that are new, whose defaults fulfil them, or the trigger `payment_captured_in_full`.
            "channel_account.channel_account_identity_check",
            "channel_account.channel_account_state_check",
            "payment.payment_authorized_minor_check",
            "payment.payment_captured_minor_check",
            "payment.payment_voided_minor_check",
            "payment.payment_captured_in_full",
            "payment.payment_refund_ceiling",
            "payment.payment_capture_ceiling",
            "payment.payment_authorization_ceiling",
            "payment.payment_succeeded_captured",
            "attempt.attempt_next_action_check",
            "attempt.attempt_refs_check",
            "attempt.attempt_input_check",
            "attempt.attempt_problem_check",
            // Makes the row that the build before knows nothing of.
            "channel_account.channel_account_first_credential",
            // No build deletes what they hold.
            "channel_credential.channel_credential_merchant_id_channel_account_id_fkey",
            "attempt_decision.attempt_decision_merchant_id_payment_id_fkey",
            "attempt_decision.attempt_decision_merchant_id_attempt_id_fkey",
        ],
    ),
    (
        "settlement",
        2,
        &[
            // Wider than what it replaces.
            "account.account_kind_check",
            "transfer.transfer_kind_check",
            "transfer.transfer_facts",
            "batch.batch_not_empty",
            "batch.batch_adds_up",
            // Only on columns that are new, whose defaults fulfil them.
            "batch.batch_held_minor_check",
            "batch.batch_released_minor_check",
            // Of rows that only a build of this level makes.
            "transfer.btree (payment_id, merchant_id) WHERE (kind = 'hold'::text)",
            "transfer.btree (payment_id, merchant_id) WHERE (kind = 'release'::text)",
            "transfer.transfer_release_ceiling",
            // What the build before does; but a batch that takes holds, which it can't count, it must leave.
            "batch_item.batch_sums",
            "batch_item.batch_item_waits",
            "batch.batch_takes",
        ],
    ),
    (
        "settlement",
        3,
        &[
            // What the build before writes in one transaction, and in this order: it was run beside this schema.
            "transfer.transfer_batch_net",
            "transfer.transfer_note",
            "batch.batch_note",
            "batch_item.batch_item_transfer",
            "entry.entry_note",
            "account.account_note",
            "account.account_begins_empty",
            // Demands of entries that they follow from their transfer, which they do.
            "entry_balance()",
            // What no build does.
            "reconciliation.reconciliation_stays",
            "reconciliation_break.reconciliation_break_stays",
            "reconciliation_break.reconciliation_break_remains",
        ],
    ),
    (
        "settlement",
        5,
        &[
            // Filled in by the trigger where a build of before leaves them out.
            "transfer.transfer_components_given",
            "transfer.transfer_derive_components",
            // The same as the checks that it replaces, of kinds that are rows; and what the components are made from.
            "transfer.transfer_a_shape",
            // Of kinds that only a build of this level knows.
            "transfer.btree (COALESCE(refund_id, batch_id, payment_id), merchant_id, kind) WHERE (kind <> ALL (ARRAY['payment'::text, 'refund'::text, 'batch'::text, 'hold'::text, 'release'::text]))",
            // On columns that are new, whose defaults fulfil them; wider than what they replace.
            "transfer.transfer_made_at_channel",
            "batch.batch_not_empty",
            "batch.batch_adds_up",
            "fee_schedule.fee_schedule_currency",
            "fee_schedule.fee_schedule_range",
            "fee_schedule.fee_schedule_currency_check",
            "fee_schedule.fee_schedule_fixed_minor_check",
            "fee_schedule.fee_schedule_minimum_minor_check",
            "fee_schedule.fee_schedule_maximum_minor_check",
            "fee_schedule.fee_schedule_channel_fixed_minor_check",
            "fee_schedule.fee_schedule_channel_minimum_minor_check",
            "fee_schedule.fee_schedule_channel_maximum_minor_check",
            "bill_line.bill_line_kind_check",
            "reconciliation_break.reconciliation_break_kind_check",
            "reconciliation_break.reconciliation_break_sides",
            // Follow from a batch, whoever closes it; nobody deletes batches.
            "batch.batch_lines",
            "batch_line.batch_line_merchant_id_batch_id_fkey",
            // Their functions have other names, and do what they did.
            "account.account_identity_stays",
            "account.account_note",
            "account.account_stays",
            "batch.batch_append_only",
            "batch.batch_note",
            "batch_item.batch_item_identity_stays",
            "batch_item.batch_item_stays",
            "batch_item.batch_item_taken_once",
            "entry.entry_append_only",
            "entry.entry_note",
            "fee_schedule.fee_schedule_append_only",
            "reconciliation.reconciliation_stays",
            "reconciliation_break.reconciliation_break_remains",
            "reconciliation_break.reconciliation_break_stays",
            "transfer.transfer_append_only",
            "transfer.transfer_note",
            "unproven.unproven_stays",
            // Demand the same by rules; but of refunds and batches that take what the build before can't count, which it
            // must leave to this one.
            "entry_balance()",
            "transfer_refund_ceiling()",
            "transfer_batch_net()",
            "batch_item_transfer()",
            "batch_sums()",
        ],
    ),
];

#[tokio::test]
async fn every_migration_only_expands() {
    let mut stumbles = Vec::new();
    for (service, schemas) in services() {
        let database = TestDatabase::create().await;
        let pool = database.pool();
        let mut before = Catalogue::default();
        for (n, schema) in schemas.iter().enumerate() {
            for migration in schema.migrator.iter() {
                let level = migration.version;
                migrate_to(&pool, schema.migrator, level).await;
                let now = Catalogue::read(&pool).await;
                let is_own = n + 1 == schemas.len();
                let judged = JUDGED.iter().find(|judged| is_own && (judged.0, judged.1) == (service, level));
                let found = before.stumbles(&now, judged.map_or(&[], |judged| judged.2));
                stumbles.extend(
                    found
                        .into_iter()
                        .map(|found| format!("{service} {level:04}_{}: {found}", migration.description)),
                );
                before = now;
            }
        }
    }
    assert!(stumbles.is_empty(), "the build before may stumble over\n  {}", stumbles.join("\n  "));
}

/// What a migration of this SQL would let the build before stumble over.
async fn stumbles(pool: &PgPool, sql: &str, judged: &[&str]) -> Vec<String> {
    let before = Catalogue::read(pool).await;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(pool).await.unwrap();
    before.stumbles(&Catalogue::read(pool).await, judged)
}

#[tokio::test]
async fn what_the_build_before_would_stumble_over_is_found() {
    let database = TestDatabase::create().await;
    let pool = database.pool();
    let drop = "drop table if exists booked, paid, paid_once; drop function if exists small";
    let make = "create table paid (
            id int primary key, code varchar(9) not null default '', note text, unique (code),
            constraint noted check (note <> ''));
        create function small() returns trigger language plpgsql as 'begin return new; end';
        create trigger small before insert on paid for each row execute function small()";
    for (sql, what) in [
        ("alter table paid drop column note", "column paid.note is gone"),
        ("alter table paid rename column note to remark", "column paid.note is gone"),
        ("drop table paid", "column paid.id is gone"),
        ("alter table paid rename to paid_once", "column paid.id is gone"),
        ("alter table paid alter code type varchar(5)", "column paid.code was character varying(9)"),
        ("alter table paid alter id type bigint", "column paid.id was integer and is bigint"),
        ("alter table paid alter note set not null", "column paid.note became required"),
        ("alter table paid alter code drop default", "column paid.code lost its default"),
        ("alter table paid add more int not null", "column paid.more is new, required, and has no default"),
        ("alter table paid drop constraint paid_code_key", "(code) of paid is not unique any more"),
        ("alter table paid add constraint small check (id < 9)", "constraint paid.small is"),
        ("alter table paid drop constraint noted, add constraint noted check (note > 'n')", "paid.noted is"),
        ("create unique index once on paid (note)", "index paid.btree (note) is unique"),
        (
            "create trigger watch before update on paid for each row
             execute function suppress_redundant_updates_trigger()",
            "trigger paid.watch watches",
        ),
        (
            "create or replace trigger small before insert or update on paid for each row execute function small()",
            "trigger paid.small watches",
        ),
        (
            "create or replace function small() returns trigger language plpgsql as 'begin return null; end'",
            "function small() does something else",
        ),
        (
            "create table booked (id int not null references paid)",
            "constraint booked.booked_id_fkey holds rows of paid",
        ),
    ] {
        sqlx::raw_sql(AssertSqlSafe(format!("{drop}; {make}"))).execute(&pool).await.unwrap();
        let found = stumbles(&pool, sql, &[]).await;
        assert!(found.iter().any(|found| found.contains(what)), "{sql}: {found:?}");
    }

    sqlx::raw_sql(AssertSqlSafe(format!("{drop}; {make}"))).execute(&pool).await.unwrap();
    let expands = "alter table paid add more int, add most int not null default 0, drop constraint noted,
                       add constraint small check (id < 9);
                   create table refunded (id int not null unique check (id > 0));
                   create function large() returns int language sql as 'select 1';
                   create index by_note on paid (note)";
    assert_eq!(stumbles(&pool, expands, &["paid.small"]).await, [""; 0]);
}
