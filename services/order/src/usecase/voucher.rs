//! Vouchers: looked up and redeemed.

use sqlx::PgConnection;
use tael_fault::crash_point;
use tael_idempotency::IdempotencyKey;
use tael_ids::{MerchantId, RedemptionId};

use super::{Error, Orders};
use crate::domain::code::VoucherCode;
use crate::domain::voucher::{NewRedemption, Redemption, Voucher};
use crate::{events, store};

impl Orders {
    /// Looks a voucher up.
    pub(crate) async fn get_voucher(
        &self,
        merchant_id: MerchantId,
        code: VoucherCode,
    ) -> Result<Voucher, Error> {
        let mut conn = self.pool.acquire().await?;
        store::voucher::by_code(&mut conn, merchant_id, code).await?.ok_or(Error::VoucherNotFound)
    }

    /// Redeems uses of a voucher.
    pub(crate) async fn redeem(
        &self,
        merchant_id: MerchantId,
        new: NewRedemption,
        guard: IdempotencyKey,
    ) -> Result<Redemption, Error> {
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        let Some(voucher) = store::voucher::redeem(&mut tx, merchant_id, new.code, new.count).await? else {
            // Used up, perhaps by this very redemption when the call is a repeated one.
            if let Some(made) = redeemed_before(&mut tx, merchant_id, &guard).await? {
                return Ok(made);
            }
            let voucher = store::voucher::by_code(&mut tx, merchant_id, new.code).await?;
            let voucher = voucher.ok_or(Error::VoucherNotFound)?;
            return Err(Error::VoucherUsedUp { voucher_id: voucher.id, uses_left: voucher.uses_left() });
        };
        let made = Redemption { id: RedemptionId::new(), voucher };
        if !store::voucher::insert_redemption(&mut tx, merchant_id, &new, &made, now, &guard).await? {
            // A repeated call: the uses just taken are given back with the transaction.
            tx.rollback().await?;
            let mut conn = self.pool.acquire().await?;
            return redeemed_before(&mut conn, merchant_id, &guard).await?.ok_or(Error::RowVanished);
        }
        self.log.append(&mut tx, &[events::redeemed(merchant_id, &made.voucher, &new, now)]).await?;
        tx.commit().await?;
        crash_point("order.redeem.committed");
        self.log.wake();
        Ok(made)
    }
}

async fn redeemed_before(
    conn: &mut PgConnection,
    merchant_id: MerchantId,
    guard: &IdempotencyKey,
) -> Result<Option<Redemption>, Error> {
    let Some((made, fingerprint)) = store::voucher::redemption_by_key(conn, merchant_id, &guard.key).await?
    else {
        return Ok(None);
    };
    guard.check(&fingerprint).map_err(Error::KeyReused)?;
    Ok(Some(made))
}
