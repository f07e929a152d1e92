//! SQL as somebody might type it.

use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use uuid::Uuid;

use crate::fixture::{Fixture, Shop, start};

/// One posted payment with its refund, closed into a batch.
pub(crate) async fn fixture_with_postings() -> (Fixture, Shop) {
    let fixture = start().await;
    let shop = fixture.shop_with_rates("0.006", "0.0038").await;
    let paid = shop.paid(10_000);
    fixture.happen([paid.event(), paid.refunded(1_000, 1_000).event()]).await;
    fixture.close(&shop, None).await.unwrap();
    fixture.happen([shop.paid(5_000).event()]).await;
    (fixture, shop)
}

pub(crate) async fn run(pool: &PgPool, sql: &str) -> Result<u64, sqlx::Error> {
    sqlx::query(AssertSqlSafe(sql.to_owned())).execute(pool).await.map(|done| done.rows_affected())
}

pub(crate) fn code(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(DatabaseError::code).map(Into::into).unwrap_or_default()
}

/// Inserts a payment like the one of 5 000, with a fee of 30 and one of 19 at the channel; returns its transfer's id.
pub(crate) async fn pay_by_hand(tx: &mut PgConnection) -> Uuid {
    let id = tael_ids::EventId::new().uuid();
    sqlx::query(
        "insert into transfer (merchant_id, transfer_id, kind, currency, gross_minor, fee_minor, channel_fee_minor,
             payment_id, channel, channel_account_id, number, fee_rate, channel_rate, occur_time, post_time, event_id)
         select merchant_id, $1, kind, currency, gross_minor, fee_minor, channel_fee_minor, $1, channel,
             channel_account_id, 'by hand', fee_rate, channel_rate, occur_time, post_time, $1
         from transfer where kind = 'payment' and gross_minor = 5000 limit 1",
    )
    .bind(id)
    .execute(tx)
    .await
    .unwrap();
    id
}

/// What else transfers of payments and refunds take: their places among what waits for a batch, …
pub(crate) const ITEMS: &str = "insert into batch_item (merchant_id, transfer_id, currency, occur_time)
    select merchant_id, transfer_id, currency, occur_time from transfer t
    where kind <> 'batch' and not exists (select from batch_item i where i.transfer_id = t.transfer_id)";
/// … their entries, …
pub(crate) const ENTRIES: &str =
    "insert into entry (merchant_id, transfer_id, account_id, direction, amount_minor, currency)
    select t.merchant_id, t.transfer_id, a.account_id, case when e.debit > 0 then 'debit' else 'credit' end,
           abs(e.debit), t.currency
    from transfer t
    cross join lateral (select case t.kind when 'payment' then 1 when 'refund' then -1 end as sign) s
    cross join lateral (values ('channel_receivable', sign * (gross_minor - channel_fee_minor)),
                               ('channel_cost', sign * channel_fee_minor),
                               ('merchant_payable', -sign * (gross_minor - fee_minor)),
                               ('fee_income', -sign * fee_minor)) as e (kind, debit)
    join account a on a.merchant_id = t.merchant_id and a.kind = e.kind and a.currency = t.currency
    where e.debit <> 0 and not exists (select from entry e where e.transfer_id = t.transfer_id)";
/// … and the sums of the accounts.
pub(crate) const SUMS: &str = "update account a set
    debits_minor = (select coalesce(sum(amount_minor), 0) from entry e
                    where e.account_id = a.account_id and e.direction = 'debit'),
    credits_minor = (select coalesce(sum(amount_minor), 0) from entry e
                     where e.account_id = a.account_id and e.direction = 'credit')";

pub(crate) async fn run_all(tx: &mut PgConnection, statements: &[&str]) -> Result<(), sqlx::Error> {
    for sql in statements {
        sqlx::query(AssertSqlSafe((*sql).to_owned())).execute(&mut *tx).await?;
    }
    Ok(())
}
