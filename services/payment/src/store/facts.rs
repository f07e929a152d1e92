//! Rows for the money audit, as they stand.

use sqlx::PgPool;
use tael_facts::{FactRow, Range, money, time};
use tael_ids::{AttemptId, ChannelAccountId, OrderId, PaymentId, RefundId};
use tael_proto::audit::v1::fact::Fact;
use tael_proto::audit::v1::{AttemptFact, ChannelAccountFact, PaymentFact, PaymentRefundFact};

/// Drafts are none: nothing was ever paid through one, and its keys may be wrong.
#[tracing::instrument(name = "db.fact.channel_accounts", skip_all)]
pub(crate) async fn channel_accounts(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        // Whose statement it is: the seller's, where several accounts may be one seller's, else the account's own.
        r#"select merchant_id, channel_account_id, channel,
                coalesce(seller_id, channel_account_id::text) as "statement_owner!"
         from channel_account
         where (merchant_id, channel_account_id) > ($1, $2) and merchant_id <= $3 and state <> 'draft'
         order by merchant_id, channel_account_id limit $4"#,
        range.after_merchant,
        range.after_id,
        range.last_merchant,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let fact = ChannelAccountFact {
            channel_account_id: ChannelAccountId::from_uuid(row.channel_account_id).to_string(),
            channel: row.channel,
            statement_owner: row.statement_owner,
            // Alipay's days are Beijing's.
            time_zone: "Asia/Shanghai".to_owned(),
        };
        FactRow { merchant_id: row.merchant_id, id: row.channel_account_id, fact: Fact::ChannelAccount(fact) }
    });
    Ok(found.collect())
}

#[tracing::instrument(name = "db.fact.payments", skip_all)]
pub(crate) async fn payments(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        "select merchant_id, payment_id, order_id, amount_minor, currency, state, refunded_minor,
                refund_reserved_minor, pay_time
         from payment where (merchant_id, payment_id) > ($1, $2) and merchant_id <= $3
         order by merchant_id, payment_id limit $4",
        range.after_merchant,
        range.after_id,
        range.last_merchant,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let fact = PaymentFact {
            payment_id: PaymentId::from_uuid(row.payment_id).to_string(),
            order_id: OrderId::from_uuid(row.order_id).to_string(),
            amount: money(row.amount_minor, &row.currency),
            state: row.state,
            refunded: money(row.refunded_minor, &row.currency),
            refund_reserved: money(row.refund_reserved_minor, &row.currency),
            pay_time: row.pay_time.and_then(time),
        };
        FactRow { merchant_id: row.merchant_id, id: row.payment_id, fact: Fact::Payment(fact) }
    });
    Ok(found.collect())
}

#[tracing::instrument(name = "db.fact.attempts", skip_all)]
pub(crate) async fn attempts(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        "select merchant_id, attempt_id, payment_id, channel_account_id, state, in_doubt, create_time
         from attempt where (merchant_id, attempt_id) > ($1, $2) and merchant_id <= $3
         order by merchant_id, attempt_id limit $4",
        range.after_merchant,
        range.after_id,
        range.last_merchant,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let fact = AttemptFact {
            attempt_id: AttemptId::from_uuid(row.attempt_id).to_string(),
            payment_id: PaymentId::from_uuid(row.payment_id).to_string(),
            channel_account_id: ChannelAccountId::from_uuid(row.channel_account_id).to_string(),
            state: row.state,
            in_doubt: row.in_doubt,
            create_time: time(row.create_time),
        };
        FactRow { merchant_id: row.merchant_id, id: row.attempt_id, fact: Fact::Attempt(fact) }
    });
    Ok(found.collect())
}

#[tracing::instrument(name = "db.fact.refunds", skip_all)]
pub(crate) async fn refunds(pool: &PgPool, range: Range) -> Result<Vec<FactRow>, sqlx::Error> {
    let rows = sqlx::query!(
        "select merchant_id, refund_id, payment_id, attempt_id, amount_minor, currency, state, create_time, refund_time
         from payment_refund where (merchant_id, refund_id) > ($1, $2) and merchant_id <= $3
         order by merchant_id, refund_id limit $4",
        range.after_merchant,
        range.after_id,
        range.last_merchant,
        range.limit,
    )
    .fetch_all(pool)
    .await?;
    let found = rows.into_iter().map(|row| {
        let fact = PaymentRefundFact {
            refund_id: RefundId::from_uuid(row.refund_id).to_string(),
            payment_id: PaymentId::from_uuid(row.payment_id).to_string(),
            attempt_id: AttemptId::from_uuid(row.attempt_id).to_string(),
            amount: money(row.amount_minor, &row.currency),
            state: row.state,
            // What a channel gave back in closing has the attempt's own digits.
            reversal: row.refund_id == row.attempt_id,
            create_time: time(row.create_time),
            refund_time: row.refund_time.and_then(time),
        };
        FactRow { merchant_id: row.merchant_id, id: row.refund_id, fact: Fact::PaymentRefund(fact) }
    });
    Ok(found.collect())
}
