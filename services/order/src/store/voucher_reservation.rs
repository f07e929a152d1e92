//! What refunds take of their orders' vouchers. Read to be changed, and changed, only under the lock of the order.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::ToSqlx as _;
use sqlx::PgConnection;
use tael_ids::{LineId, MerchantId, OrderId, RefundId, VoucherId};
use uuid::Uuid;

use super::{count, expect_rows, inconsistent};
use crate::domain::voucher::{Reservation, ReservationState, ReservedUses};

/// The key of a reservation.
pub(crate) type Key = (MerchantId, RefundId);

/// Returns the reservation of a refund and the fingerprint of its request, which is empty when there was none.
#[tracing::instrument(name = "db.voucher_reservation.load", skip_all)]
pub(crate) async fn load(
    conn: &mut PgConnection,
    (merchant_id, refund_id): Key,
) -> Result<Option<(Reservation, Vec<u8>)>, sqlx::Error> {
    let row = sqlx::query!(
        "select order_id, state, fingerprint, force_reason from voucher_reservation
         where merchant_id = $1 and refund_id = $2",
        merchant_id.uuid(),
        refund_id.uuid(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let reservation = Reservation {
        refund_id,
        order_id: OrderId::from_uuid(row.order_id),
        state: match row.state.as_str() {
            "reserved" => ReservationState::Reserved,
            "released" => ReservationState::Released,
            "taken_back" => ReservationState::TakenBack,
            other => {
                return Err(inconsistent("voucher_reservation", "state", refund_id, format!("{other:?}")));
            }
        },
        uses: uses(conn, &[(merchant_id, refund_id)])
            .await?
            .remove(&(merchant_id, refund_id))
            .unwrap_or_default(),
        force_reason: row.force_reason,
    };
    Ok(Some((reservation, row.fingerprint.unwrap_or_default())))
}

/// Returns what is set aside for these refunds; those for which nothing is, or no more, are left out.
#[tracing::instrument(name = "db.voucher_reservation.open", skip_all)]
pub(crate) async fn open(
    conn: &mut PgConnection,
    refunds: &[Key],
) -> Result<HashMap<Key, Vec<ReservedUses>>, sqlx::Error> {
    let (merchants, ids) = columns(refunds);
    let rows = sqlx::query!(
        "select merchant_id, refund_id from voucher_reservation
         where (merchant_id, refund_id) in (select * from unnest($1::uuid[], $2::uuid[])) and state = 'reserved'",
        &merchants,
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let open: Vec<Key> = rows
        .into_iter()
        .map(|row| (MerchantId::from_uuid(row.merchant_id), RefundId::from_uuid(row.refund_id)))
        .collect();
    let mut uses = uses(conn, &open).await?;
    Ok(open.into_iter().map(|key| (key, uses.remove(&key).unwrap_or_default())).collect())
}

async fn uses(
    conn: &mut PgConnection,
    refunds: &[Key],
) -> Result<HashMap<Key, Vec<ReservedUses>>, sqlx::Error> {
    let (merchants, ids) = columns(refunds);
    let rows = sqlx::query!(
        "select u.merchant_id, u.refund_id, u.voucher_id, v.line_id, u.uses, u.used
         from voucher_reservation_use u join voucher v using (merchant_id, voucher_id)
         where (u.merchant_id, u.refund_id) in (select * from unnest($1::uuid[], $2::uuid[]))
         order by u.voucher_id",
        &merchants,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let mut all: HashMap<Key, Vec<ReservedUses>> = HashMap::new();
    for row in rows {
        let key = (MerchantId::from_uuid(row.merchant_id), RefundId::from_uuid(row.refund_id));
        all.entry(key).or_default().push(ReservedUses {
            voucher_id: VoucherId::from_uuid(row.voucher_id),
            line_id: LineId::from_uuid(row.line_id),
            uses: count("voucher_reservation_use", "uses", key.1, row.uses)?,
            used: count("voucher_reservation_use", "used", key.1, row.used)?,
        });
    }
    Ok(all)
}

/// Returns how many used units of an order's vouchers are refunded, or are going to be; those of which none are are left
/// out.
#[tracing::instrument(name = "db.voucher_reservation.refunded_used", skip_all)]
pub(crate) async fn refunded_used(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    order_id: OrderId,
) -> Result<HashMap<VoucherId, u32>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"select u.voucher_id, sum(u.used)::int as "used!"
           from voucher_reservation r join voucher_reservation_use u using (merchant_id, refund_id)
           where r.merchant_id = $1 and r.order_id = $2 and r.state <> 'released' group by u.voucher_id"#,
        merchant_id.uuid(),
        order_id.uuid(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let id = VoucherId::from_uuid(row.voucher_id);
            Ok((id, count("voucher_reservation_use", "used", id, row.used)?))
        })
        .collect()
}

/// Stores a reservation of a refund that had none. `fingerprint` is that of its request.
#[tracing::instrument(name = "db.voucher_reservation.insert", skip_all)]
pub(crate) async fn insert(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    reservation: &Reservation,
    fingerprint: Option<&[u8]>,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let end_time = (reservation.state != ReservationState::Reserved).then(|| now.to_sqlx());
    sqlx::query!(
        "insert into voucher_reservation (merchant_id, refund_id, order_id, state, fingerprint, force_reason,
                                          create_time, end_time)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        merchant_id.uuid(),
        reservation.refund_id.uuid(),
        reservation.order_id.uuid(),
        reservation.state.name(),
        fingerprint,
        reservation.force_reason,
        now.to_sqlx() as _,
        end_time as _,
    )
    .execute(&mut *conn)
    .await?;
    if reservation.uses.is_empty() {
        return Ok(());
    }
    let vouchers: Vec<Uuid> = reservation.uses.iter().map(|u| u.voucher_id.uuid()).collect();
    let set_aside: Vec<i32> = reservation.uses.iter().map(|u| u.uses.cast_signed()).collect();
    let used: Vec<i32> = reservation.uses.iter().map(|u| u.used.cast_signed()).collect();
    sqlx::query!(
        "insert into voucher_reservation_use (merchant_id, refund_id, voucher_id, uses, used)
         select $1, $2, u.* from unnest($3::uuid[], $4::int[], $5::int[]) as u",
        merchant_id.uuid(),
        reservation.refund_id.uuid(),
        &vouchers,
        &set_aside,
        &used,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends reservations that are open.
#[tracing::instrument(name = "db.voucher_reservation.end", skip_all)]
pub(crate) async fn end(
    conn: &mut PgConnection,
    refunds: &[Key],
    state: ReservationState,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    if refunds.is_empty() {
        return Ok(());
    }
    let (merchants, ids) = columns(refunds);
    let updated = sqlx::query!(
        "update voucher_reservation set state = $3, end_time = $4
         where (merchant_id, refund_id) in (select * from unnest($1::uuid[], $2::uuid[])) and state = 'reserved'",
        &merchants,
        &ids,
        state.name(),
        now.to_sqlx() as _,
    )
    .execute(conn)
    .await?;
    expect_rows("voucher_reservation", refunds.len(), updated.rows_affected())
}

fn columns(refunds: &[Key]) -> (Vec<Uuid>, Vec<Uuid>) {
    refunds.iter().map(|(merchant, refund)| (merchant.uuid(), refund.uuid())).unzip()
}
