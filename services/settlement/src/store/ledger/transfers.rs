//! Postings and their entries.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_ids::{AccountId, BatchId, EventId, MerchantId, PaymentId, RefundId, TransferId};
use tael_money::Money;
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use crate::domain::fee_schedule::{FeeTerms, Terms};
use crate::domain::ledger::account::{AccountKey, AccountKind, Direction};
use crate::domain::ledger::posting::{PostedFee, PostedPayment};
use crate::domain::ledger::transfer::{Component, Components, Entry, NewTransfer, Transfer, TransferKind};
use crate::store::{inconsistent, money};

/// Inserts transfers, but for those that were posted before, and puts all but batches among what waits for a
/// batch. Returns the ids of the transfers that are new.
#[tracing::instrument(name = "db.transfer.insert", skip_all, fields(tael.count = transfers.len()))]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    transfers: &[NewTransfer],
    post_time: Timestamp,
) -> Result<HashSet<TransferId>, sqlx::Error> {
    let column = |value: fn(&NewTransfer) -> Option<Uuid>| -> Vec<Option<Uuid>> {
        transfers.iter().map(value).collect()
    };
    let merchants: Vec<Uuid> = transfers.iter().map(|t| t.merchant_id.uuid()).collect();
    let ids: Vec<Uuid> = transfers.iter().map(|t| t.id.uuid()).collect();
    let kinds: Vec<&str> = transfers.iter().map(|t| t.reason.kind().name()).collect();
    let currencies: Vec<&str> = transfers.iter().map(|t| t.gross.currency().code()).collect();
    let gross: Vec<i64> = transfers.iter().map(|t| t.gross.minor()).collect();
    let components: Vec<String> = transfers.iter().map(|t| components_json(&t.components)).collect();
    // Also in columns of their own as long as builds read them that know no components.
    let fees: Vec<i64> = transfers.iter().map(|t| t.components.minor(Component::Fee)).collect();
    let channel_fees: Vec<i64> =
        transfers.iter().map(|t| t.components.minor(Component::ChannelFee)).collect();
    let payments = column(|t| t.reason.payment_id().map(PaymentId::uuid));
    let refunds = column(|t| t.reason.refund_id().map(RefundId::uuid));
    let batches = column(|t| t.reason.batch_id().map(BatchId::uuid));
    let channels: Vec<Option<&str>> =
        transfers.iter().map(|t| t.reason.channel_ref().map(|at| at.channel.name())).collect();
    let channel_accounts = column(|t| t.reason.channel_ref().map(|at| at.channel_account_id.uuid()));
    let numbers: Vec<Option<String>> = transfers.iter().map(|t| t.reason.number()).collect();
    let transaction_ids: Vec<Option<&str>> = transfers
        .iter()
        .map(|t| t.reason.channel_ref().and_then(|at| at.transaction_id.as_deref()))
        .collect();
    let made_at_channel: Vec<bool> = transfers.iter().map(|t| t.reason.is_made_at_channel()).collect();
    let rate = |of: fn(&Terms) -> &FeeTerms| -> Vec<Option<String>> {
        transfers.iter().map(|t| Some(of(&t.reason.terms()?.terms).rate.to_string())).collect()
    };
    let fee_rates = rate(|terms| &terms.fee);
    let channel_rates = rate(|terms| &terms.channel_fee);
    let schedules: Vec<Option<i64>> =
        transfers.iter().map(|t| t.reason.terms().and_then(|terms| terms.version)).collect();
    let refunded_totals: Vec<Option<i64>> =
        transfers.iter().map(|t| t.reason.refunded_total().map(Money::minor)).collect();
    let occur_times: Vec<_> = transfers.iter().map(|t| t.occur_time.to_sqlx()).collect();
    let events = column(|t| t.reason.event_id().map(EventId::uuid));
    let posted = sqlx::query_scalar!(
        "with posted as (
             insert into transfer (merchant_id, transfer_id, kind, currency, gross_minor, fee_minor, channel_fee_minor,
                 payment_id, refund_id, batch_id, channel, channel_account_id, number, fee_rate, channel_rate,
                 refunded_total_minor, occur_time, post_time, event_id, components, fee_schedule_version,
                 channel_transaction_id, made_at_channel)
             select merchant_id, transfer_id, kind, currency, gross_minor, fee_minor, channel_fee_minor,
                 payment_id, refund_id, batch_id, channel, channel_account_id, number, fee_rate::numeric,
                 channel_rate::numeric, refunded_total_minor, occur_time, $19, event_id, components::jsonb,
                 fee_schedule_version, channel_transaction_id, made_at_channel
             from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
                         $8::uuid[], $9::uuid[], $10::uuid[], $11::text[], $12::uuid[], $13::text[], $14::text[],
                         $15::text[], $16::bigint[], $17::timestamptz[], $18::uuid[], $20::text[], $21::bigint[],
                         $22::text[], $23::boolean[])
                 as n (merchant_id, transfer_id, kind, currency, gross_minor, fee_minor, channel_fee_minor,
                       payment_id, refund_id, batch_id, channel, channel_account_id, number, fee_rate, channel_rate,
                       refunded_total_minor, occur_time, event_id, components, fee_schedule_version,
                       channel_transaction_id, made_at_channel)
             on conflict do nothing
             returning merchant_id, transfer_id, kind, currency, occur_time
         ), waiting as (
             insert into batch_item (merchant_id, transfer_id, currency, occur_time)
             select merchant_id, transfer_id, currency, occur_time
             from posted join transfer_kind k on k.transfer_kind = kind and k.waits_for_batch
         )
         select transfer_id from posted",
        &merchants,
        &ids,
        &kinds as _,
        &currencies as _,
        &gross,
        &fees,
        &channel_fees,
        &payments as _,
        &refunds as _,
        &batches as _,
        &channels as _,
        &channel_accounts as _,
        &numbers as _,
        &fee_rates as _,
        &channel_rates as _,
        &refunded_totals as _,
        &occur_times as _,
        &events as _,
        post_time.to_sqlx() as _,
        &components,
        &schedules as _,
        &transaction_ids as _,
        &made_at_channel,
    )
    .fetch_all(conn)
    .await?;
    Ok(posted.into_iter().map(TransferId::from_uuid).collect())
}

/// Components as they are stored: an object of minor units. Names have nothing that JSON would escape.
fn components_json(components: &Components) -> String {
    let parts: Vec<String> =
        components.iter().map(|(part, amount)| format!("\"{}\":{}", part.name(), amount.minor())).collect();
    format!("{{{}}}", parts.join(","))
}

/// Returns one of these transfers that was not posted before with the same facts: another amount or number under the
/// same payment or refund, or another payment or refund under the same event.
#[tracing::instrument(name = "db.transfer.compare", skip_all)]
pub(crate) async fn first_different(
    conn: &mut PgConnection,
    transfers: &[&NewTransfer],
) -> Result<Option<TransferId>, sqlx::Error> {
    let merchants: Vec<Uuid> = transfers.iter().map(|t| t.merchant_id.uuid()).collect();
    let ids: Vec<Uuid> = transfers.iter().map(|t| t.id.uuid()).collect();
    let kinds: Vec<&str> = transfers.iter().map(|t| t.reason.kind().name()).collect();
    let payments: Vec<Option<Uuid>> =
        transfers.iter().map(|t| t.reason.payment_id().map(PaymentId::uuid)).collect();
    let refunds: Vec<Option<Uuid>> =
        transfers.iter().map(|t| t.reason.refund_id().map(RefundId::uuid)).collect();
    let currencies: Vec<&str> = transfers.iter().map(|t| t.gross.currency().code()).collect();
    let gross: Vec<i64> = transfers.iter().map(|t| t.gross.minor()).collect();
    let numbers: Vec<Option<String>> = transfers.iter().map(|t| t.reason.number()).collect();
    let different = sqlx::query_scalar!(
        r#"select n.transfer_id as "transfer_id!"
           from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::bigint[],
                       $8::text[]) as n (merchant_id, transfer_id, kind, payment_id, refund_id, currency, gross_minor,
                                         number)
           left join lateral (
               select t.transfer_id from transfer t
               where n.kind = 'payment' and t.kind = 'payment'
                 and t.merchant_id = n.merchant_id and t.payment_id = n.payment_id
                 and t.currency = n.currency and t.gross_minor = n.gross_minor and t.number = n.number
               union all
               select t.transfer_id from transfer t
               where n.kind = 'refund' and t.kind = 'refund'
                 and t.merchant_id = n.merchant_id and t.refund_id = n.refund_id and t.payment_id = n.payment_id
                 and t.currency = n.currency and t.gross_minor = n.gross_minor and t.number = n.number
               union all
               select t.transfer_id from transfer t
               where n.kind = 'hold' and t.kind = 'hold'
                 and t.merchant_id = n.merchant_id and t.payment_id = n.payment_id
                 and t.currency = n.currency and t.gross_minor = n.gross_minor
               union all
               select t.transfer_id from transfer t
               where n.kind = 'release' and t.kind = 'release'
                 and t.merchant_id = n.merchant_id and t.payment_id = n.payment_id
                 and t.currency = n.currency and t.gross_minor = n.gross_minor
               union all
               -- Kinds that have no index of their own.
               select t.transfer_id from transfer t
               where t.kind not in ('payment', 'refund', 'batch', 'hold', 'release') and t.kind = n.kind
                 and t.merchant_id = n.merchant_id
                 and coalesce(t.refund_id, t.batch_id, t.payment_id) = coalesce(n.refund_id, n.payment_id)
                 and t.currency = n.currency and t.gross_minor = n.gross_minor
                 and t.number is not distinct from n.number
               limit 1
           ) posted on true
           where posted.transfer_id is null
           limit 1"#,
        &merchants,
        &ids,
        &kinds as _,
        &payments as _,
        &refunds as _,
        &currencies as _,
        &gross,
        &numbers as _,
    )
    .fetch_optional(conn)
    .await?;
    Ok(different.map(TransferId::from_uuid))
}

/// Inserts the entries of transfers that were just inserted, in one statement.
#[tracing::instrument(name = "db.entry.insert", skip_all)]
pub(crate) async fn insert_entries(
    conn: &mut PgConnection,
    transfers: &[&NewTransfer],
    accounts: &HashMap<AccountKey, AccountId>,
) -> Result<(), sqlx::Error> {
    let count = transfers.iter().map(|t| t.entries.len()).sum();
    let mut merchants = Vec::with_capacity(count);
    let mut ids = Vec::with_capacity(count);
    let mut account_ids = Vec::with_capacity(count);
    let mut directions = Vec::with_capacity(count);
    let mut amounts = Vec::with_capacity(count);
    let mut currencies = Vec::with_capacity(count);
    for transfer in transfers {
        for entry in &transfer.entries {
            merchants.push(transfer.merchant_id.uuid());
            ids.push(transfer.id.uuid());
            account_ids.push(accounts.get(&entry.account).ok_or(sqlx::Error::RowNotFound)?.uuid());
            directions.push(entry.direction.name());
            amounts.push(entry.amount.minor());
            currencies.push(entry.amount.currency().code());
        }
    }
    sqlx::query!(
        "insert into entry (merchant_id, transfer_id, account_id, direction, amount_minor, currency)
         select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::text[])",
        &merchants,
        &ids,
        &account_ids,
        &directions as _,
        &amounts,
        &currencies as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns what refunds need to know of those of the payments that were posted.
#[tracing::instrument(name = "db.transfer.load_payments", skip_all)]
pub(crate) async fn posted_payments(
    conn: &mut PgConnection,
    wanted: &[(MerchantId, PaymentId)],
) -> Result<HashMap<(MerchantId, PaymentId), PostedPayment>, sqlx::Error> {
    let merchants: Vec<Uuid> = wanted.iter().map(|(merchant, _)| merchant.uuid()).collect();
    let payments: Vec<Uuid> = wanted.iter().map(|(_, payment)| payment.uuid()).collect();
    let rows = sqlx::query!(
        r#"select t.merchant_id, t.payment_id as "payment_id!", t.currency, t.gross_minor,
                  coalesce((c.components -> 'received')::bigint, 0) as "received!",
                  coalesce((c.components -> 'fee')::bigint, 0) as "fee!",
                  coalesce((c.components -> 'channel_fee')::bigint, 0) as "channel_fee!",
                  coalesce(f.returned_on_refund, true) as "fee_is_returned!",
                  coalesce(f.channel_returned_on_refund, true) as "channel_fee_is_returned!"
           from unnest($1::uuid[], $2::uuid[]) as w (merchant_id, payment_id)
           join transfer t on t.merchant_id = w.merchant_id and t.payment_id = w.payment_id and t.kind = 'payment'
           cross join lateral (select coalesce(t.components, components_of(t)) as components) c
           left join fee_schedule f
               on f.merchant_id = t.merchant_id and f.channel = t.channel and f.version = t.fee_schedule_version"#,
        &merchants,
        &payments,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let money = |minor| money("transfer", row.payment_id, minor, &row.currency);
            let posted = PostedPayment {
                amount: money(row.gross_minor)?,
                received: money(row.received)?,
                fee: PostedFee { amount: money(row.fee)?, is_returned: row.fee_is_returned },
                channel_fee: PostedFee {
                    amount: money(row.channel_fee)?,
                    is_returned: row.channel_fee_is_returned,
                },
            };
            Ok(((MerchantId::from_uuid(row.merchant_id), PaymentId::from_uuid(row.payment_id)), posted))
        })
        .collect()
}

struct TransferRow {
    transfer_id: Uuid,
    kind: String,
    payment_id: Option<Uuid>,
    refund_id: Option<Uuid>,
    batch_id: Option<Uuid>,
    currency: String,
    component_names: Vec<String>,
    component_amounts: Vec<i64>,
    channel_transaction_id: Option<String>,
    made_at_channel: bool,
    occur_time: jiff_sqlx::Timestamp,
    post_time: jiff_sqlx::Timestamp,
}

impl TryFrom<TransferRow> for Transfer {
    type Error = InconsistentRow;

    fn try_from(row: TransferRow) -> Result<Self, InconsistentRow> {
        let kind = TransferKind::from_name(&row.kind)
            .ok_or_else(|| inconsistent("transfer", "kind", row.transfer_id, &row.kind))?;
        let components = row.component_names.into_iter().zip(row.component_amounts);
        let components = components
            .map(|(name, minor)| Ok((name, money("transfer", row.transfer_id, minor, &row.currency)?)))
            .collect::<Result<_, InconsistentRow>>()?;
        Ok(Self {
            id: TransferId::from_uuid(row.transfer_id),
            kind,
            payment_id: row.payment_id.map(PaymentId::from_uuid),
            refund_id: row.refund_id.map(RefundId::from_uuid),
            batch_id: row.batch_id.map(BatchId::from_uuid),
            components,
            entries: Vec::new(),
            channel_transaction_id: row.channel_transaction_id,
            made_at_channel: row.made_at_channel,
            occur_time: row.occur_time.to_jiff(),
            post_time: row.post_time.to_jiff(),
        })
    }
}

/// A page of transfers, newest first. The columns stand here once; `$transfers` is which transfers, under the alias t.
macro_rules! query_page {
    ($transfers:literal, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            TransferRow,
            r#"select t.transfer_id as "transfer_id!", t.kind as "kind!", t.payment_id, t.refund_id,
                      coalesce(t.batch_id, i.batch_id) as batch_id, t.currency as "currency!",
                      c.names as "component_names!", c.amounts as "component_amounts!", t.channel_transaction_id,
                      t.made_at_channel as "made_at_channel!", t.occur_time as "occur_time!",
                      t.post_time as "post_time!"
               from "# + $transfers + r#"
               left join batch_item i on i.merchant_id = t.merchant_id and i.transfer_id = t.transfer_id
               cross join lateral (
                   select coalesce(array_agg(component order by component), '{}') as names,
                          coalesce(array_agg(amount_minor order by component), '{}') as amounts
                   from transfer_component c
                   where c.merchant_id = t.merchant_id and c.transfer_id = t.transfer_id
               ) c
               where t.transfer_id < coalesce($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
               order by t.transfer_id desc limit $3"#,
            $($argument),+
        )
    };
}

/// Returns a page of a merchant's transfers with their entries, newest first.
#[tracing::instrument(name = "db.transfer.list", skip_all)]
pub(crate) async fn of_merchant(
    pool: &PgPool,
    merchant_id: MerchantId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Transfer>, sqlx::Error> {
    let rows =
        query_page!("(select * from transfer where merchant_id = $1) t", merchant_id.uuid(), after, limit,);
    with_entries(pool, merchant_id, rows.fetch_all(pool).await?).await
}

/// Returns a page of a payment's transfers with their entries, newest first.
#[tracing::instrument(name = "db.transfer.of_payment", skip_all)]
pub(crate) async fn of_payment(
    pool: &PgPool,
    merchant_id: MerchantId,
    payment_id: PaymentId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Transfer>, sqlx::Error> {
    // Two ways to the rows, because each kind has its own index.
    let rows = query_page!(
        "(
             select * from transfer where merchant_id = $1 and payment_id = $4 and kind = 'payment'
             union all
             select * from transfer where merchant_id = $1 and payment_id = $4 and kind = 'refund'
         ) t",
        merchant_id.uuid(),
        after,
        limit,
        payment_id.uuid(),
    );
    with_entries(pool, merchant_id, rows.fetch_all(pool).await?).await
}

/// Loads the entries of all the rows at once.
async fn with_entries(
    pool: &PgPool,
    merchant_id: MerchantId,
    rows: Vec<TransferRow>,
) -> Result<Vec<Transfer>, sqlx::Error> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.transfer_id).collect();
    let entries = sqlx::query!(
        r#"select e.transfer_id, e.account_id, a.kind, e.direction, e.amount_minor, e.currency
           from entry e join account a using (merchant_id, account_id)
           where e.merchant_id = $1 and e.transfer_id = any($2)
           order by e.transfer_id, e.direction desc, a.kind"#,
        merchant_id.uuid(),
        &ids,
    )
    .fetch_all(pool)
    .await?;
    let mut by_transfer: HashMap<Uuid, Vec<Entry>> = HashMap::with_capacity(rows.len());
    for row in entries {
        let bad = |column, value: &str| inconsistent("entry", column, row.transfer_id, value);
        by_transfer.entry(row.transfer_id).or_default().push(Entry {
            account_id: AccountId::from_uuid(row.account_id),
            kind: AccountKind::from_name(&row.kind).ok_or_else(|| bad("kind", &row.kind))?,
            direction: Direction::from_name(&row.direction)
                .ok_or_else(|| bad("direction", &row.direction))?,
            amount: money("entry", row.transfer_id, row.amount_minor, &row.currency)?,
        });
    }
    rows.into_iter()
        .map(|row| {
            let mut transfer = Transfer::try_from(row)?;
            transfer.entries = by_transfer.remove(&transfer.id.uuid()).unwrap_or_default();
            Ok(transfer)
        })
        .collect()
}
