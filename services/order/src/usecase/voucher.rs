//! Vouchers: issued, looked up and redeemed.

use jiff::Timestamp;
use sqlx::PgConnection;
use tael_eventlog::ApplyError;
use tael_fault::crash_point;
use tael_idempotency::IdempotencyKey;
use tael_ids::{MerchantId, OrderId, RedemptionId, RefundId, VoucherId};

use super::{Failure, Orders, check_key, from_failures};
use crate::domain::code::{NoRandomness, VoucherCode};
use crate::domain::voucher::{NewRedemption, NewVoid, Redemption, Refunded, ReservedUses, Voucher};
use crate::store::locked_order::VoucherLine;
use crate::{events, store};

/// Why something was not done with a voucher.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VoucherError {
    #[error("there is no voucher with this code")]
    NotFound,
    #[error("the voucher has {uses_left} uses left")]
    UsedUp { voucher_id: VoucherId, uses_left: u32 },
    #[error("the merchant has no order {0}")]
    OrderNotFound(OrderId),
    #[error("order {order_id} is {state}")]
    OrderState { order_id: OrderId, state: &'static str },
    #[error("{} of the units to be refunded were used", uses.used)]
    Used { order_id: OrderId, refund_id: RefundId, uses: ReservedUses },
    #[error("what was set aside for refund {refund_id} is {state}")]
    Reservation { refund_id: RefundId, state: &'static str },
    #[error(transparent)]
    Failure(#[from] Failure),
}

from_failures!(VoucherError: sqlx::Error);

impl Orders {
    /// Looks a voucher up.
    pub(crate) async fn get_voucher(
        &self,
        merchant_id: MerchantId,
        code: VoucherCode,
    ) -> Result<Voucher, VoucherError> {
        let mut conn = self.pool.acquire().await?;
        store::voucher::by_code(&mut conn, merchant_id, code).await?.ok_or(VoucherError::NotFound)
    }

    /// Redeems uses of a voucher.
    pub(crate) async fn redeem(
        &self,
        merchant_id: MerchantId,
        new: NewRedemption,
        key: IdempotencyKey,
    ) -> Result<Redemption, VoucherError> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let Some(voucher) = store::voucher::redeem(&mut tx, merchant_id, new.code, new.count).await? else {
            // Used up, perhaps by this very redemption when the call is a repeated one.
            if let Some(made) = redeemed_before(&mut tx, merchant_id, key).await? {
                return Ok(made);
            }
            let voucher = store::voucher::by_code(&mut tx, merchant_id, new.code).await?;
            let voucher = voucher.ok_or(VoucherError::NotFound)?;
            return Err(VoucherError::UsedUp { voucher_id: voucher.id, uses_left: voucher.uses_left() });
        };
        let made = Redemption { id: RedemptionId::new(), voucher };
        if !store::voucher::insert_redemption(&mut tx, merchant_id, &new, &made, now, &key).await? {
            // A repeated call: the uses just taken are given back with the transaction.
            tx.rollback().await?;
            let mut conn = self.pool.acquire().await?;
            let before = redeemed_before(&mut conn, merchant_id, key).await?;
            return Ok(before.ok_or(Failure::RowVanished)?);
        }
        self.log.append(&mut tx, &[events::redeemed(merchant_id, &made.voucher, &new, now)]).await?;
        tx.commit().await?;
        crash_point("order.redeem.committed");
        self.log.wake();
        Ok(made)
    }
}

impl Orders {
    /// Takes uses of a voucher back without a refund.
    pub(crate) async fn void_voucher(
        &self,
        merchant_id: MerchantId,
        new: NewVoid,
        key: IdempotencyKey,
    ) -> Result<Voucher, VoucherError> {
        let mut tx = self.pool.begin().await?;
        let mut voucher = store::voucher::lock(&mut tx, merchant_id, new.voucher_id)
            .await?
            .ok_or(VoucherError::NotFound)?;
        // Under the lock, so that an equal call at the same moment is seen here.
        if let Some((before, fingerprint)) =
            store::voucher::void_by_key(&mut tx, merchant_id, &key.key).await?
        {
            check_key(key, &fingerprint)?;
            return Ok(before);
        }
        let uses_left = voucher.uses_left();
        let count = new.count.unwrap_or(uses_left);
        if count == 0 || count > uses_left {
            return Err(VoucherError::UsedUp { voucher_id: voucher.id, uses_left });
        }
        voucher.void(Refunded::Units(count));
        let now = self.clock.now();
        if !store::voucher::insert_void(&mut tx, merchant_id, &new, count, &voucher, now, &key).await? {
            // The key was taken at the same moment by a call for another voucher, which our lock did not hold off.
            return Err(Failure::KeyReused(key).into());
        }
        store::voucher::write_uses(&mut tx, &[(merchant_id, voucher.clone())]).await?;
        tx.commit().await?;
        Ok(voucher)
    }
}

async fn redeemed_before(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    key: IdempotencyKey,
) -> Result<Option<Redemption>, Failure> {
    let Some((made, fingerprint)) = store::voucher::redemption_by_key(conn, merchant_id, &key.key).await?
    else {
        return Ok(None);
    };
    check_key(key, &fingerprint)?;
    Ok(Some(made))
}

/// Why vouchers were not issued.
#[derive(Debug, thiserror::Error)]
pub(super) enum IssueError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl From<IssueError> for ApplyError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Database(error) => error.into(),
            IssueError::NoRandomness(error) => Self::Transient(Box::new(error)),
        }
    }
}

impl From<IssueError> for Failure {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Database(error) => Self::Database(error),
            IssueError::NoRandomness(error) => Self::NoRandomness(error),
        }
    }
}

/// Issues a voucher for each line that wants one, of orders that were just paid, and returns them with their merchants.
pub(super) async fn issue(
    conn: &mut PgConnection,
    orders: &[(MerchantId, OrderId)],
    now: Timestamp,
) -> Result<Vec<(MerchantId, Voucher)>, IssueError> {
    let lines = store::locked_order::voucher_lines(conn, orders).await?;
    if lines.is_empty() {
        return Ok(Vec::new());
    }
    let mut vouchers = Vec::with_capacity(lines.len());
    for line in lines {
        vouchers.push((line.merchant_id, new_voucher(line, now)?));
    }
    store::voucher::insert(conn, &vouchers, now).await?;
    Ok(vouchers)
}

fn new_voucher(line: VoucherLine, now: Timestamp) -> Result<Voucher, NoRandomness> {
    Ok(Voucher {
        id: VoucherId::new(),
        order_id: line.order_id,
        line_id: line.line_id,
        code: VoucherCode::generate()?,
        uses: line.quantity,
        redeemed: 0,
        reserved: 0,
        voided: 0,
        issue_time: now,
    })
}
