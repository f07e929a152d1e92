//! Policies, of which the newest is in force.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgPool;
use tael_idempotency::IdempotencyKey;
use tael_ids::MerchantId;
use tael_money::Currency;
use tael_postgres::InconsistentRow;

use crate::domain::RefundPolicy;

/// Returns the policy in force; none when the merchant has set none.
#[tracing::instrument(name = "db.refund_policy.current", skip_all)]
pub(crate) async fn current(
    pool: &PgPool,
    merchant_id: MerchantId,
) -> Result<Option<RefundPolicy>, sqlx::Error> {
    let row = sqlx::query!(
        "select version, window_day, limit_currency, limit_minor
         from refund_policy where merchant_id = $1 order by version desc limit 1",
        merchant_id.uuid(),
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(policy(row.version, row.window_day, &row.limit_currency, &row.limit_minor)?))
}

/// Inserts a policy unless its idempotency key was used; says whether it did.
#[tracing::instrument(name = "db.refund_policy.insert", skip_all)]
pub(crate) async fn insert(
    pool: &PgPool,
    merchant_id: MerchantId,
    policy: &RefundPolicy,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let currencies: Vec<String> = policy.auto_approve_limits.keys().map(ToString::to_string).collect();
    let limits: Vec<i64> = policy.auto_approve_limits.values().copied().collect();
    let inserted = sqlx::query!(
        "insert into refund_policy
             (merchant_id, window_day, limit_currency, limit_minor, idempotency_key, fingerprint, create_time)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (merchant_id, idempotency_key) do nothing",
        merchant_id.uuid(),
        i32::from(policy.window_days),
        &currencies,
        &limits,
        key.key,
        key.fingerprint,
        now.to_sqlx() as _,
    )
    .execute(pool)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns the policy that was set under an idempotency key, and the request's fingerprint.
#[tracing::instrument(name = "db.refund_policy.by_key", skip_all)]
pub(crate) async fn by_key(
    pool: &PgPool,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<(RefundPolicy, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select version, window_day, limit_currency, limit_minor, fingerprint
         from refund_policy where merchant_id = $1 and idempotency_key = $2",
        merchant_id.uuid(),
        key,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((policy(row.version, row.window_day, &row.limit_currency, &row.limit_minor)?, row.fingerprint)))
}

fn policy(
    version: i64,
    window_day: i32,
    currencies: &[String],
    limits: &[i64],
) -> Result<RefundPolicy, InconsistentRow> {
    let inconsistent = |column, problem: String| InconsistentRow {
        table: "refund_policy",
        column,
        row: version.to_string(),
        problem,
    };
    let window_days = u16::try_from(window_day).map_err(|e| inconsistent("window_day", e.to_string()))?;
    let auto_approve_limits = currencies
        .iter()
        .zip(limits)
        .map(|(code, limit)| {
            let currency =
                Currency::parse(code).map_err(|e| inconsistent("limit_currency", e.to_string()))?;
            Ok((currency, *limit))
        })
        .collect::<Result<_, InconsistentRow>>()?;
    Ok(RefundPolicy { window_days, auto_approve_limits })
}
