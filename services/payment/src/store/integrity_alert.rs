//! Table `alarm`: integrity alerts. The table is called as it was, for replicas of the build before.

use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_ids::{IntegrityAlertId, MerchantId, PaymentId};
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use crate::domain::integrity_alert::{IntegrityAlert, Mismatch};

struct IntegrityAlertRow {
    merchant_id: Uuid,
    alarm_id: Uuid,
    payment_id: Uuid,
    field: String,
    expected: String,
    actual: String,
    create_time: jiff_sqlx::Timestamp,
}

impl TryFrom<IntegrityAlertRow> for IntegrityAlert {
    type Error = InconsistentRow;

    fn try_from(row: IntegrityAlertRow) -> Result<Self, InconsistentRow> {
        let id = IntegrityAlertId::from_uuid(row.alarm_id);
        Ok(Self {
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            id,
            payment_id: PaymentId::from_uuid(row.payment_id),
            mismatch: Mismatch { field: row.field, expected: row.expected, actual: row.actual },
            create_time: row.create_time.to_jiff(),
        })
    }
}

/// Records an alert unless the same mismatch was recorded before; says whether it did.
#[tracing::instrument(name = "db.integrity_alert.insert", skip_all)]
pub(crate) async fn insert(conn: &mut PgConnection, alert: &IntegrityAlert) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "insert into alarm (merchant_id, alarm_id, payment_id, field, expected, actual, create_time)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (merchant_id, payment_id, field, expected, actual) do nothing",
        alert.merchant_id.uuid(),
        alert.id.uuid(),
        alert.payment_id.uuid(),
        alert.mismatch.field,
        alert.mismatch.expected,
        alert.mismatch.actual,
        alert.create_time.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns at most `limit` of a merchant's alerts, newest first, after the one given.
#[tracing::instrument(name = "db.integrity_alert.list", skip_all)]
pub(crate) async fn list(
    pool: &PgPool,
    merchant_id: MerchantId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<IntegrityAlert>, sqlx::Error> {
    let rows = sqlx::query_as!(
        IntegrityAlertRow,
        "select merchant_id, alarm_id, payment_id, field, expected, actual, create_time
         from alarm
         where merchant_id = $1 and ($2::uuid is null or alarm_id < $2)
         order by alarm_id desc limit $3",
        merchant_id.uuid(),
        after,
        limit
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(|row| row.try_into().map_err(Into::into)).collect()
}
