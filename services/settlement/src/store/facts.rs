//! Rows for the money audit, as they stand.

use sqlx::PgPool;
use tael_facts::{FactRow, Range, money, time};
use tael_ids::{AccountId, BatchId, EventId, PaymentId, RefundId, TransferId};
use tael_proto::audit::v1::fact::Fact;
use tael_proto::audit::v1::{LedgerAccountFact, TransferFact};

#[tracing::instrument(name = "db.fact.transfers", skip_all)]
pub(crate) async fn transfers(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select t.merchant_id, t.transfer_id, t.kind, t.currency, t.gross_minor, t.fee_minor, t.channel_fee_minor,
                  t.payment_id, t.refund_id, t.batch_id, t.event_id, t.fee_rate::text as fee_rate,
                  t.channel_rate::text as channel_rate, t.post_time, e.debits as "debits!",
                  e.credits as "credits!", e.foreign_entries as "foreign_entries!",
                  coalesce(f.returned_on_refund, true) as "fee_returned!",
                  coalesce(f.channel_returned_on_refund, true) as "channel_fee_returned!",
                  case t.kind when 'payment' then x.fee end as expected_fee,
                  case t.kind when 'payment' then x.channel_fee end as expected_channel_fee
           from transfer t
           cross join lateral (
               select coalesce((coalesce(t.components, components_of(t)) -> 'received')::bigint, 0) as received
           ) c
           left join fee_schedule f
               on f.merchant_id = t.merchant_id and f.channel = t.channel and f.version = t.fee_schedule_version
           -- The terms' amounts count in their currency only.
           cross join lateral (select f.currency is not distinct from t.currency as counts) k
           -- Rounded half up, as PostgreSQL rounds what is not negative.
           cross join lateral (
               select least(c.received, case when k.counts then f.maximum_minor end, greatest(
                          round(c.received * t.fee_rate) + case when k.counts then coalesce(f.fixed_minor, 0) else 0 end,
                          case when k.counts then f.minimum_minor end))::bigint as fee,
                      least(c.received, case when k.counts then f.channel_maximum_minor end, greatest(
                          round(c.received * t.channel_rate)
                              + case when k.counts then coalesce(f.channel_fixed_minor, 0) else 0 end,
                          case when k.counts then f.channel_minimum_minor end))::bigint as channel_fee
           ) x
           cross join lateral (
               select coalesce(sum(amount_minor) filter (where direction = 'debit' and currency = t.currency), 0)::bigint
                          as debits,
                      coalesce(sum(amount_minor) filter (where direction = 'credit' and currency = t.currency), 0)::bigint
                          as credits,
                      count(*) filter (where currency <> t.currency) as foreign_entries
               from entry where merchant_id = t.merchant_id and transfer_id = t.transfer_id
           ) e
           where (t.merchant_id, t.transfer_id) > ($1, $2) and t.merchant_id <= $3
           order by t.merchant_id, t.transfer_id limit $4"#,
        range.after_merchant,
        range.after_id,
        range.last_merchant,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let fact = TransferFact {
            transfer_id: TransferId::from_uuid(row.transfer_id).to_string(),
            kind: row.kind,
            gross: money(row.gross_minor, &row.currency),
            fee: money(row.fee_minor, &row.currency),
            channel_fee: money(row.channel_fee_minor, &row.currency),
            payment_id: row.payment_id.map(|id| PaymentId::from_uuid(id).to_string()).unwrap_or_default(),
            refund_id: row.refund_id.map(|id| RefundId::from_uuid(id).to_string()).unwrap_or_default(),
            event_id: row.event_id.map(|id| EventId::from_uuid(id).to_string()).unwrap_or_default(),
            fee_rate: row.fee_rate.unwrap_or_default(),
            channel_rate: row.channel_rate.unwrap_or_default(),
            debits_minor: row.debits,
            credits_minor: row.credits,
            foreign_entries: u32::try_from(row.foreign_entries).unwrap_or(u32::MAX),
            batch_id: row.batch_id.map(|id| BatchId::from_uuid(id).to_string()).unwrap_or_default(),
            post_time: time(row.post_time),
            expected_fee: row.expected_fee.and_then(|minor| money(minor, &row.currency)),
            expected_channel_fee: row.expected_channel_fee.and_then(|minor| money(minor, &row.currency)),
            fee_kept_on_refund: !row.fee_returned,
            channel_fee_kept_on_refund: !row.channel_fee_returned,
        };
        FactRow { merchant_id: row.merchant_id, id: row.transfer_id, fact: Fact::Transfer(fact) }
    });
    Ok(found.collect())
}

/// A page reads all entries of its merchants, so it should be small.
#[tracing::instrument(name = "db.fact.accounts", skip_all)]
pub(crate) async fn accounts(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with page as (
               select merchant_id, account_id, currency, debits_minor, credits_minor
               from account where (merchant_id, account_id) > ($1, $2) and merchant_id <= $3
               order by merchant_id, account_id limit $4
           ), sums as (
               select merchant_id, account_id,
                      sum(amount_minor) filter (where direction = 'debit')::bigint as debits,
                      sum(amount_minor) filter (where direction = 'credit')::bigint as credits
               from entry where merchant_id in (select merchant_id from page)
               group by merchant_id, account_id
           )
           select p.merchant_id, p.account_id, p.currency, p.debits_minor, p.credits_minor,
                  coalesce(s.debits, 0) as "entry_debits!", coalesce(s.credits, 0) as "entry_credits!"
           from page p left join sums s using (merchant_id, account_id)
           order by p.merchant_id, p.account_id"#,
        range.after_merchant,
        range.after_id,
        range.last_merchant,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let fact = LedgerAccountFact {
            account_id: AccountId::from_uuid(row.account_id).to_string(),
            debits: money(row.debits_minor, &row.currency),
            credits: money(row.credits_minor, &row.currency),
            entry_debits: money(row.entry_debits, &row.currency),
            entry_credits: money(row.entry_credits, &row.currency),
        };
        FactRow { merchant_id: row.merchant_id, id: row.account_id, fact: Fact::LedgerAccount(fact) }
    });
    Ok(found.collect())
}
