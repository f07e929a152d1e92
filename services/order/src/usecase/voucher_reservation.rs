//! Uses of vouchers that are set aside for refunds, so that no use is both redeemed and refunded.
//!
//! Whatever happens to them happens under the lock of their order, before which no voucher is locked. A refund that
//! succeeded takes them back in [`super::order_refund`].

use jiff::Timestamp;
use sqlx::PgConnection;
use tael_idempotency::IdempotencyKey;
use tael_ids::{MerchantId, OrderId, RefundId};

use super::voucher::VoucherError;
use super::{Orders, check_key};
use crate::domain::order::State;
use crate::domain::voucher::{RefundScope, Reservation, ReservationState};
use crate::store;

impl Orders {
    /// Sets aside what a refund takes of its order's vouchers. A repeated call, told by the refund's id, returns the
    /// reservation as it stands.
    pub(crate) async fn reserve_uses(
        &self,
        scope: RefundScope,
        key: IdempotencyKey,
    ) -> Result<Reservation, VoucherError> {
        let order_key = (scope.merchant_id, scope.order_id);
        let mut tx = self.pool.begin().await?;
        let order = store::locked_order::lock(&mut tx, &[order_key])
            .await?
            .pop()
            .ok_or(VoucherError::OrderNotFound(scope.order_id))?;
        let refund_id = scope.refund_id;
        if let Some((before, fingerprint)) =
            store::voucher_reservation::load(&mut tx, (scope.merchant_id, refund_id)).await?
        {
            if before.state == ReservationState::Released {
                return Err(VoucherError::Reservation { refund_id, state: before.state.name() });
            }
            check_key(key, &fingerprint)?;
            return Ok(before);
        }
        match order.state {
            State::Paid { .. } => {}
            State::PendingPayment | State::Cancelled | State::Expired => {
                return Err(VoucherError::OrderState { order_id: scope.order_id, state: order.state.name() });
            }
        }
        let mut vouchers = store::voucher::lock_of_orders(&mut tx, &[order_key]).await?;
        let mut reservation = Reservation {
            refund_id,
            order_id: scope.order_id,
            state: ReservationState::Reserved,
            uses: Vec::new(),
            force_reason: scope.force_reason.clone(),
        };
        if vouchers.is_empty() {
            // They come with the payment: this order will never have any.
            return Ok(reservation);
        }
        let refunded_used =
            store::voucher_reservation::refunded_used(&mut tx, scope.merchant_id, scope.order_id).await?;
        for (_, voucher) in &mut vouchers {
            let Some(refunded) = scope.of(voucher.line_id) else { continue };
            let before = refunded_used.get(&voucher.id).copied().unwrap_or_default();
            reservation.uses.extend(voucher.reserve(refunded, before));
        }
        if scope.force_reason.is_none()
            && let Some(&uses) = reservation.uses.iter().find(|uses| uses.used > 0)
        {
            return Err(VoucherError::Used { order_id: scope.order_id, refund_id, uses });
        }
        let now = self.clock.now();
        store::voucher_reservation::insert(
            &mut tx,
            scope.merchant_id,
            &reservation,
            Some(&key.fingerprint),
            now,
        )
        .await?;
        store::voucher::write_uses(&mut tx, &vouchers).await?;
        tx.commit().await?;
        Ok(reservation)
    }

    /// Gives back what was set aside for a refund that will not happen, and sees to it that nothing will be.
    pub(crate) async fn release_uses(
        &self,
        merchant_id: MerchantId,
        order_id: OrderId,
        refund_id: RefundId,
    ) -> Result<Reservation, VoucherError> {
        let mut tx = self.pool.begin().await?;
        store::locked_order::lock(&mut tx, &[(merchant_id, order_id)])
            .await?
            .pop()
            .ok_or(VoucherError::OrderNotFound(order_id))?;
        let reservation = release(&mut tx, self.clock.now(), (merchant_id, refund_id), order_id).await?;
        match reservation.state {
            ReservationState::Released => {}
            state @ (ReservationState::Reserved | ReservationState::TakenBack) => {
                return Err(VoucherError::Reservation { refund_id, state: state.name() });
            }
        }
        tx.commit().await?;
        Ok(reservation)
    }
}

/// Gives back what was set aside for a refund of an order that is locked, and returns the reservation as it then stands:
/// one that was taken back stays so.
pub(super) async fn release(
    conn: &mut PgConnection,
    now: Timestamp,
    (merchant_id, refund_id): (MerchantId, RefundId),
    order_id: OrderId,
) -> Result<Reservation, sqlx::Error> {
    let Some((mut reservation, _)) = store::voucher_reservation::load(conn, (merchant_id, refund_id)).await?
    else {
        let nothing = Reservation {
            refund_id,
            order_id,
            state: ReservationState::Released,
            uses: Vec::new(),
            force_reason: None,
        };
        // A row of its own only where something could still be set aside.
        if !store::voucher::lock_of_orders(conn, &[(merchant_id, order_id)]).await?.is_empty() {
            store::voucher_reservation::insert(conn, merchant_id, &nothing, None, now).await?;
        }
        return Ok(nothing);
    };
    if reservation.state != ReservationState::Reserved {
        return Ok(reservation);
    }
    let mut vouchers = store::voucher::lock_of_orders(conn, &[(merchant_id, reservation.order_id)]).await?;
    for &uses in &reservation.uses {
        for (_, voucher) in vouchers.iter_mut().filter(|(_, voucher)| voucher.id == uses.voucher_id) {
            voucher.release(uses);
        }
    }
    store::voucher::write_uses(conn, &vouchers).await?;
    store::voucher_reservation::end(conn, &[(merchant_id, refund_id)], ReservationState::Released, now)
        .await?;
    reservation.state = ReservationState::Released;
    Ok(reservation)
}
