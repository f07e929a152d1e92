//! Policies about late payments, of which the newest is in force.
//!
//! Their table is called `late_money_policy`, and `overpayment` is its column `surplus`, as they were named first: other
//! names would need a moment in which builds before and after them can't both work.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_idempotency::IdempotencyKey;
use tael_ids::MerchantId;
use uuid::Uuid;

use super::inconsistent;
use crate::domain::unapplied_payment::{Action, LatePaymentPolicy, OverpaymentAction};

/// Returns the policies in force of these merchants; those who set none are left out.
#[tracing::instrument(name = "db.late_payment_policy.current", skip_all)]
pub(crate) async fn current(
    conn: &mut PgConnection,
    merchants: &[MerchantId],
) -> Result<HashMap<MerchantId, LatePaymentPolicy>, sqlx::Error> {
    let merchants: Vec<Uuid> = merchants.iter().map(|merchant| merchant.uuid()).collect();
    let rows = sqlx::query!(
        r#"select p.merchant_id, p.closed_order, p.surplus from unnest($1::uuid[]) as m (merchant_id), lateral (
               select merchant_id, closed_order, surplus from late_money_policy
               where merchant_id = m.merchant_id order by version desc limit 1
           ) p"#,
        &merchants,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let merchant_id = MerchantId::from_uuid(row.merchant_id);
            Ok((merchant_id, policy(merchant_id, &row.closed_order, &row.surplus)?))
        })
        .collect()
}

/// Inserts a policy unless its idempotency key was used; says whether it did.
#[tracing::instrument(name = "db.late_payment_policy.insert", skip_all)]
pub(crate) async fn insert(
    pool: &PgPool,
    merchant_id: MerchantId,
    policy: LatePaymentPolicy,
    key: &IdempotencyKey,
    now: Timestamp,
) -> Result<bool, sqlx::Error> {
    let closed_order = match policy.closed_order {
        Action::Hold => "hold",
        Action::Accept => "accept",
        Action::Refund => "refund",
    };
    let overpayment = match policy.overpayment {
        OverpaymentAction::Hold => "hold",
        OverpaymentAction::Refund => "refund",
    };
    let inserted = sqlx::query!(
        "insert into late_money_policy (merchant_id, closed_order, surplus, idempotency_key, fingerprint, create_time)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (merchant_id, idempotency_key) do nothing",
        merchant_id.uuid(),
        closed_order,
        overpayment,
        key.key,
        key.fingerprint,
        now.to_sqlx() as _,
    )
    .execute(pool)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns the policy that was set under an idempotency key, and that request's fingerprint.
#[tracing::instrument(name = "db.late_payment_policy.by_key", skip_all)]
pub(crate) async fn by_key(
    pool: &PgPool,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<(LatePaymentPolicy, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select closed_order, surplus, fingerprint from late_money_policy
         where merchant_id = $1 and idempotency_key = $2",
        merchant_id.uuid(),
        key,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some((policy(merchant_id, &row.closed_order, &row.surplus)?, row.fingerprint)))
}

fn policy(
    merchant_id: MerchantId,
    closed_order: &str,
    surplus: &str,
) -> Result<LatePaymentPolicy, sqlx::Error> {
    const TABLE: &str = "late_money_policy";
    Ok(LatePaymentPolicy {
        closed_order: match closed_order {
            "hold" => Action::Hold,
            "accept" => Action::Accept,
            "refund" => Action::Refund,
            other => return Err(inconsistent(TABLE, "closed_order", merchant_id, format!("{other:?}"))),
        },
        overpayment: match surplus {
            "hold" => OverpaymentAction::Hold,
            "refund" => OverpaymentAction::Refund,
            other => return Err(inconsistent(TABLE, "surplus", merchant_id, format!("{other:?}"))),
        },
    })
}
