//! Requesting a refund.

use tael_fault::crash_point;
use tael_idempotency::IdempotencyKey;
use tael_ids::{MerchantId, OrderId, RefundId};

use super::execute::lease_end;
use super::reserve::Reserved;
use super::{RefundError, Refunds, refused};
use crate::clients::OrderError;
use crate::domain::{
    PaidLine, PaidOrder, Refund, RefundPolicy, Scope, Share, State, VOUCHER_USED, VoucherUses, share,
};
use crate::{events, store};

/// A refund that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct NewRefund {
    pub(crate) merchant_id: MerchantId,
    pub(crate) order_id: OrderId,
    pub(crate) scope: Scope,
    /// The reason that the buyer is shown.
    pub(crate) reason: String,
    /// Why units that were used are refunded all the same; empty when they are not to be.
    pub(crate) force_reason: String,
}

/// What became of the try to store a refund.
enum Stored {
    /// It was stored.
    New(Box<Refund>),
    /// It had been stored by the same call.
    Before(RefundId),
}

impl Refunds {
    /// Creates a refund; if the policy approves it, the payment service is asked at once. The refund is returned as
    /// it then stands.
    pub(crate) async fn create(&self, new: NewRefund, key: IdempotencyKey) -> Result<Refund, RefundError> {
        // Before everything else, for by now the order or the policy may say otherwise.
        if let Some((refund_id, fingerprint)) =
            store::refund::by_key(&self.pool, new.merchant_id, &key.key).await?
        {
            check_key(&key, &fingerprint)?;
            return self.found(new.merchant_id, refund_id).await;
        }
        let order = self.paid_order(new.merchant_id, new.order_id).await?;
        let policy = store::refund_policy::current(&self.pool, new.merchant_id).await?.unwrap_or_default();
        if !policy.window_open(order.pay_time, self.clock.now()) {
            return Err(RefundError::WindowPassed {
                order_id: new.order_id,
                window_days: policy.window_days,
            });
        }
        match self.store_new(&new, &order, &policy, &key).await? {
            Stored::New(refund) => self.begin(*refund).await,
            Stored::Before(refund_id) => self.found(new.merchant_id, refund_id).await,
        }
    }

    /// Sets aside what a new refund takes of vouchers, and executes it if it needs no approval.
    async fn begin(&self, refund: Refund) -> Result<Refund, RefundError> {
        let refund = match self.reserve(refund).await? {
            Reserved::Yes(refund) => refund,
            // The worker goes on.
            Reserved::NotYet(refund) => return Ok(refund),
        };
        match refund.state {
            State::Processing => self.execute_first(refund).await,
            State::PendingApproval
            | State::Succeeded { .. }
            | State::Failed { .. }
            | State::Rejected { .. } => Ok(refund),
        }
    }

    /// Returns what an earlier call with the same key made.
    async fn found(&self, merchant_id: MerchantId, refund_id: RefundId) -> Result<Refund, RefundError> {
        let refund = self.after_first_try(merchant_id, refund_id).await?;
        match &refund.state {
            // That call was refused; how many units it were is in its answer alone.
            State::Failed { reason, .. } if reason == VOUCHER_USED => {
                Err(RefundError::VoucherUsed { order_id: refund.order_id, units: None })
            }
            _ => Ok(refund),
        }
    }

    /// Decides, under the order's lock, what the refund takes, and sets it aside.
    async fn store_new(
        &self,
        new: &NewRefund,
        order: &PaidOrder,
        policy: &RefundPolicy,
        key: &IdempotencyKey,
    ) -> Result<Stored, RefundError> {
        let mut tx = self.pool.begin().await?;
        let left = store::order::lock(&mut tx, order).await?;
        // The same call may have been first to the lock; what it took must not make this one a refusal.
        if let Some((refund_id, fingerprint)) =
            store::refund::by_key(&mut *tx, new.merchant_id, &key.key).await?
        {
            check_key(key, &fingerprint)?;
            return Ok(Stored::Before(refund_id));
        }
        let lines = match new.scope {
            Scope::Lines(_) => store::order::lines(&mut tx, order).await?,
            Scope::Full | Scope::Amount(_) => Vec::new(),
        };
        let Share { amount, lines } =
            share(&new.scope, left, &lines).map_err(|refusal| refused(refusal, new.order_id))?;
        let takes_everything = amount == left;
        let takes_voucher = |line: &&PaidLine| {
            line.has_voucher && (takes_everything || lines.iter().any(|taken| taken.line_id == line.line_id))
        };
        let vouchers = VoucherUses {
            unreserved: order.lines.iter().any(|line| takes_voucher(&line)),
            takes_everything,
            force_reason: new.force_reason.clone(),
        };
        let now = self.clock.now();
        let refund = Refund {
            id: RefundId::new(),
            merchant_id: new.merchant_id,
            order_id: new.order_id,
            payment_id: order.payment_id,
            amount,
            lines,
            reason: new.reason.clone(),
            state: if policy.approves(amount) { State::Processing } else { State::PendingApproval },
            operator: None,
            create_time: now,
            vouchers,
        };
        let traceparent = tael_telemetry::current_traceparent().unwrap_or_default();
        if !store::refund::insert(&mut tx, &refund, key, lease_end(now), &traceparent).await? {
            // The key was taken by a call for another order, which our lock did not hold off.
            return Err(RefundError::KeyReused(key.clone()));
        }
        self.log.append(&mut tx, &[events::created(&refund)]).await?;
        tx.commit().await?;
        crash_point("refund.create.committed");
        self.log.wake();
        Ok(Stored::New(Box::new(refund)))
    }

    async fn paid_order(&self, merchant_id: MerchantId, order_id: OrderId) -> Result<PaidOrder, RefundError> {
        self.orders.paid_order(merchant_id, order_id).await.map_err(|error| match error {
            OrderError::NotFound => RefundError::OrderNotFound(order_id),
            OrderError::NotPaid { state } => RefundError::OrderNotPaid { order_id, state },
            error @ (OrderError::Unavailable(_) | OrderError::Malformed(_)) => RefundError::Order(error),
        })
    }
}

/// Compares a call with the one that used its key first.
fn check_key(key: &IdempotencyKey, fingerprint: &[u8]) -> Result<(), RefundError> {
    if key.matches(fingerprint) { Ok(()) } else { Err(RefundError::KeyReused(key.clone())) }
}
