//! Vouchers and redemptions.

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tael_idempotency::IdempotencyKey;
use tael_ids::{LineId, MerchantId, OrderId, RedemptionId, VoucherId};
use uuid::Uuid;

use super::{columns, count, expect_rows, inconsistent};
use crate::domain::code::VoucherCode;
use crate::domain::voucher::{NewRedemption, NewVoid, Redemption, Voucher};

struct VoucherRow {
    merchant_id: Uuid,
    voucher_id: Uuid,
    order_id: Uuid,
    line_id: Uuid,
    code: String,
    uses: i32,
    redeemed: i32,
    reserved: i32,
    voided: i32,
    issue_time: jiff_sqlx::Timestamp,
}

/// Reads whole rows; the columns are listed here and nowhere else.
macro_rules! rows {
    ($before:literal, $after:literal, $($arguments:tt)*) => {
        sqlx::query_as!(
            VoucherRow,
            $before
                + " merchant_id, voucher_id, order_id, line_id, code, uses, redeemed, reserved, voided, issue_time "
                + $after,
            $($arguments)*
        )
    };
}

impl TryFrom<VoucherRow> for Voucher {
    type Error = sqlx::Error;

    fn try_from(row: VoucherRow) -> Result<Self, sqlx::Error> {
        let id = VoucherId::from_uuid(row.voucher_id);
        Ok(Self {
            id,
            order_id: OrderId::from_uuid(row.order_id),
            line_id: LineId::from_uuid(row.line_id),
            code: VoucherCode::parse(&row.code)
                .map_err(|e| inconsistent("voucher", "code", id, e.to_string()))?,
            uses: count("voucher", "uses", id, row.uses)?,
            redeemed: count("voucher", "redeemed", id, row.redeemed)?,
            reserved: count("voucher", "reserved", id, row.reserved)?,
            voided: count("voucher", "voided", id, row.voided)?,
            issue_time: row.issue_time.to_jiff(),
        })
    }
}

/// Inserts vouchers, each with the merchant whom it belongs to.
#[tracing::instrument(name = "db.voucher.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    vouchers: &[(MerchantId, Voucher)],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let merchants: Vec<Uuid> = vouchers.iter().map(|(m, _)| m.uuid()).collect();
    let ids: Vec<Uuid> = vouchers.iter().map(|(_, v)| v.id.uuid()).collect();
    let orders: Vec<Uuid> = vouchers.iter().map(|(_, v)| v.order_id.uuid()).collect();
    let lines: Vec<Uuid> = vouchers.iter().map(|(_, v)| v.line_id.uuid()).collect();
    let codes: Vec<String> = vouchers.iter().map(|(_, v)| v.code.compact()).collect();
    let uses: Vec<i32> = vouchers.iter().map(|(_, v)| v.uses.cast_signed()).collect();
    sqlx::query!(
        "insert into voucher (merchant_id, voucher_id, order_id, line_id, code, uses, issue_time)
         select v.*, $7 from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::int[]) as v",
        &merchants,
        &ids,
        &orders,
        &lines,
        &codes,
        &uses,
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns the vouchers of a merchant's orders, in the order in which they were issued.
#[tracing::instrument(name = "db.voucher.of_orders", skip_all)]
pub(crate) async fn of_orders(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    order_ids: &[Uuid],
) -> Result<Vec<Voucher>, sqlx::Error> {
    let rows = rows!(
        "select",
        "from voucher where merchant_id = $1 and order_id = any($2) order by voucher_id",
        merchant_id.uuid(),
        order_ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Voucher::try_from).collect()
}

/// Returns the voucher with this code.
#[tracing::instrument(name = "db.voucher.by_code", skip_all)]
pub(crate) async fn by_code(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    code: VoucherCode,
) -> Result<Option<Voucher>, sqlx::Error> {
    rows!("select", "from voucher where merchant_id = $1 and code = $2", merchant_id.uuid(), code.compact(),)
        .fetch_optional(conn)
        .await?
        .map(Voucher::try_from)
        .transpose()
}

/// Takes uses off the voucher with this code, if it has so many left, and returns it as it is then. Of redemptions
/// at the same time each sees what the ones before it left.
#[tracing::instrument(name = "db.voucher.redeem", skip_all)]
pub(crate) async fn redeem(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    code: VoucherCode,
    count: u32,
) -> Result<Option<Voucher>, sqlx::Error> {
    rows!(
        "update voucher set redeemed = redeemed + $3
         where merchant_id = $1 and code = $2 and redeemed + reserved + voided + $3 <= uses returning",
        "",
        merchant_id.uuid(),
        code.compact(),
        count.cast_signed(),
    )
    .fetch_optional(conn)
    .await?
    .map(Voucher::try_from)
    .transpose()
}

/// Inserts a redemption unless its idempotency key was used; says whether it did.
#[tracing::instrument(name = "db.redemption.insert", skip_all)]
pub(crate) async fn insert_redemption(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    new: &NewRedemption,
    made: &Redemption,
    now: Timestamp,
    key: &IdempotencyKey,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "insert into redemption (merchant_id, redemption_id, voucher_id, count, terminal, operator, redeemed_after,
                                 reserved_after, voided_after, redeem_time, idempotency_key, fingerprint)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         on conflict (merchant_id, idempotency_key) do nothing",
        merchant_id.uuid(),
        made.id.uuid(),
        made.voucher.id.uuid(),
        new.count.cast_signed(),
        new.terminal,
        new.operator,
        made.voucher.redeemed.cast_signed(),
        made.voucher.reserved.cast_signed(),
        made.voucher.voided.cast_signed(),
        now.to_sqlx() as _,
        key.key,
        key.fingerprint,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns the redemption that was made under an idempotency key, and that request's fingerprint.
#[tracing::instrument(name = "db.redemption.by_key", skip_all)]
pub(crate) async fn redemption_by_key(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<(Redemption, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select r.redemption_id, r.redeemed_after, r.reserved_after, r.voided_after, r.fingerprint,
                v.merchant_id, v.voucher_id, v.order_id, v.line_id, v.code, v.uses, v.issue_time
         from redemption r join voucher v using (merchant_id, voucher_id)
         where r.merchant_id = $1 and r.idempotency_key = $2",
        merchant_id.uuid(),
        key,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let voucher = VoucherRow {
        merchant_id: row.merchant_id,
        voucher_id: row.voucher_id,
        order_id: row.order_id,
        line_id: row.line_id,
        code: row.code,
        uses: row.uses,
        redeemed: row.redeemed_after,
        reserved: row.reserved_after,
        voided: row.voided_after,
        issue_time: row.issue_time,
    };
    let id = RedemptionId::from_uuid(row.redemption_id);
    Ok(Some((Redemption { id, voucher: voucher.try_into()? }, row.fingerprint)))
}

/// Returns a voucher and keeps others from changing it until the transaction ends.
#[tracing::instrument(name = "db.voucher.lock_one", skip_all)]
pub(crate) async fn lock(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    id: VoucherId,
) -> Result<Option<Voucher>, sqlx::Error> {
    rows!(
        "select",
        "from voucher where merchant_id = $1 and voucher_id = $2 for no key update",
        merchant_id.uuid(),
        id.uuid(),
    )
    .fetch_optional(conn)
    .await?
    .map(Voucher::try_from)
    .transpose()
}

/// Inserts that uses were taken back, unless the idempotency key was used; says whether it did.
#[tracing::instrument(name = "db.voucher_void.insert", skip_all)]
pub(crate) async fn insert_void(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    new: &NewVoid,
    count: u32,
    voucher: &Voucher,
    now: Timestamp,
    key: &IdempotencyKey,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query!(
        "insert into voucher_void (merchant_id, voucher_id, count, reason, operator, redeemed_after, reserved_after,
                                   voided_after, void_time, idempotency_key, fingerprint)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         on conflict (merchant_id, idempotency_key) do nothing",
        merchant_id.uuid(),
        voucher.id.uuid(),
        count.cast_signed(),
        new.reason,
        new.operator,
        voucher.redeemed.cast_signed(),
        voucher.reserved.cast_signed(),
        voucher.voided.cast_signed(),
        now.to_sqlx() as _,
        key.key,
        key.fingerprint,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Returns the voucher as it was after uses were taken back under an idempotency key, and that request's fingerprint.
#[tracing::instrument(name = "db.voucher_void.by_key", skip_all)]
pub(crate) async fn void_by_key(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    key: &str,
) -> Result<Option<(Voucher, Vec<u8>)>, sqlx::Error> {
    let done = sqlx::query!(
        "select voucher_id, redeemed_after, reserved_after, voided_after, fingerprint from voucher_void
         where merchant_id = $1 and idempotency_key = $2",
        merchant_id.uuid(),
        key,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(done) = done else { return Ok(None) };
    let row = rows!(
        "select",
        "from voucher where merchant_id = $1 and voucher_id = $2",
        merchant_id.uuid(),
        done.voucher_id,
    )
    .fetch_one(conn)
    .await?;
    let (redeemed, reserved, voided) = (done.redeemed_after, done.reserved_after, done.voided_after);
    Ok(Some((VoucherRow { redeemed, reserved, voided, ..row }.try_into()?, done.fingerprint)))
}

/// Returns the vouchers of these orders and keeps others from redeeming them until the transaction ends.
#[tracing::instrument(name = "db.voucher.lock", skip_all)]
pub(crate) async fn lock_of_orders(
    conn: &mut PgConnection,
    orders: &[(MerchantId, OrderId)],
) -> Result<Vec<(MerchantId, Voucher)>, sqlx::Error> {
    let (merchants, ids) = columns(orders);
    let rows = rows!(
        "select",
        "from voucher where (merchant_id, order_id) in (select * from unnest($1::uuid[], $2::uuid[]))
         order by merchant_id, voucher_id for no key update",
        &merchants,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| Ok((MerchantId::from_uuid(row.merchant_id), row.try_into()?))).collect()
}

/// Writes what is set aside and what was taken back of vouchers that are locked.
#[tracing::instrument(name = "db.voucher.write_uses", skip_all)]
pub(crate) async fn write_uses(
    conn: &mut PgConnection,
    vouchers: &[(MerchantId, Voucher)],
) -> Result<(), sqlx::Error> {
    if vouchers.is_empty() {
        return Ok(());
    }
    let merchants: Vec<Uuid> = vouchers.iter().map(|(m, _)| m.uuid()).collect();
    let ids: Vec<Uuid> = vouchers.iter().map(|(_, v)| v.id.uuid()).collect();
    let reserved: Vec<i32> = vouchers.iter().map(|(_, v)| v.reserved.cast_signed()).collect();
    let voided: Vec<i32> = vouchers.iter().map(|(_, v)| v.voided.cast_signed()).collect();
    let updated = sqlx::query!(
        "update voucher v set reserved = n.reserved, voided = n.voided
         from unnest($1::uuid[], $2::uuid[], $3::int[], $4::int[]) as n (merchant_id, voucher_id, reserved, voided)
         where v.merchant_id = n.merchant_id and v.voucher_id = n.voucher_id and v.voided <= n.voided",
        &merchants,
        &ids,
        &reserved,
        &voided,
    )
    .execute(conn)
    .await?;
    expect_rows("voucher", vouchers.len(), updated.rows_affected())
}
