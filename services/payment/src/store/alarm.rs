//! Table `alarm`.

use jiff_sqlx::ToSqlx as _;
use sqlx::{PgConnection, PgPool};
use tael_ids::{AlarmId, MerchantId, PaymentId};
use tael_postgres::InconsistentRow;
use uuid::Uuid;

use crate::domain::alarm::{Alarm, AlarmField, Contradiction};

struct AlarmRow {
    merchant_id: Uuid,
    alarm_id: Uuid,
    payment_id: Uuid,
    field: String,
    expected: String,
    actual: String,
    create_time: jiff_sqlx::Timestamp,
}

impl TryFrom<AlarmRow> for Alarm {
    type Error = InconsistentRow;

    fn try_from(row: AlarmRow) -> Result<Self, InconsistentRow> {
        let id = AlarmId::from_uuid(row.alarm_id);
        let field = match row.field.as_str() {
            "amount" => AlarmField::Amount,
            "app_id" => AlarmField::AppId,
            "seller_id" => AlarmField::SellerId,
            other => return Err(super::unknown("alarm", "field", &id.to_string(), other)),
        };
        Ok(Self {
            merchant_id: MerchantId::from_uuid(row.merchant_id),
            id,
            payment_id: PaymentId::from_uuid(row.payment_id),
            contradiction: Contradiction { field, expected: row.expected, actual: row.actual },
            create_time: row.create_time.to_jiff(),
        })
    }
}

/// Records an alarm unless the same contradiction was recorded before; says whether it did.
#[tracing::instrument(name = "db.alarm.insert", skip_all)]
pub(crate) async fn insert(conn: &mut PgConnection, alarm: &Alarm) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "insert into alarm (merchant_id, alarm_id, payment_id, field, expected, actual, create_time)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (merchant_id, payment_id, field, expected, actual) do nothing",
        alarm.merchant_id.uuid(),
        alarm.id.uuid(),
        alarm.payment_id.uuid(),
        alarm.contradiction.field.name(),
        alarm.contradiction.expected,
        alarm.contradiction.actual,
        alarm.create_time.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns at most `limit` of a merchant's alarms, newest first, after the one given.
#[tracing::instrument(name = "db.alarm.list", skip_all)]
pub(crate) async fn list(
    pool: &PgPool,
    merchant_id: MerchantId,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Alarm>, sqlx::Error> {
    let rows = sqlx::query_as!(
        AlarmRow,
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
