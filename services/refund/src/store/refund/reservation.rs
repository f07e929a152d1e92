//! Whether what a refund takes of vouchers was set aside.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgPool;
use tael_ids::{MerchantId, RefundId};

use super::query_refunds;
use crate::domain::Refund;

/// Records that the order service has set aside what a refund takes.
#[tracing::instrument(name = "db.refund.reserved", skip_all)]
pub(crate) async fn reserved(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: RefundId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update refund set reserve_time = null where merchant_id = $1 and refund_id = $2",
        merchant_id.uuid(),
        id.uuid(),
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Sets when the order service is asked again for a refund that awaits approval.
#[tracing::instrument(name = "db.refund.postpone_reservation", skip_all)]
pub(crate) async fn postpone_reservation(
    pool: &PgPool,
    merchant_id: MerchantId,
    id: RefundId,
    reserve_time: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "update refund set reserve_time = $3
         where merchant_id = $1 and refund_id = $2 and state = 'pending_approval' and reserve_time is not null",
        merchant_id.uuid(),
        id.uuid(),
        reserve_time.to_sqlx() as _,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes refunds that await approval and for which the order service is to be asked again, so that no other worker takes
/// them before `lease_end`.
#[tracing::instrument(level = "debug", name = "db.refund.claim_unreserved", skip_all)]
pub(crate) async fn claim_unreserved(
    pool: &PgPool,
    now: Timestamp,
    lease_end: Timestamp,
    limit: i64,
) -> Result<Vec<Refund>, sqlx::Error> {
    let rows = query_refunds!(
        "with claimed as (
             update refund r set reserve_time = $2
             from (
                 select merchant_id, refund_id from refund
                 where state = 'pending_approval' and reserve_time <= $1
                 order by reserve_time
                 limit $3
                 for update skip locked
             ) due
             where r.merchant_id = due.merchant_id and r.refund_id = due.refund_id and r.state = 'pending_approval'
             returning r.*
         )",
        "claimed r",
        "",
        now.to_sqlx() as _,
        lease_end.to_sqlx() as _,
        limit,
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| Ok(row.try_into()?)).collect()
}
