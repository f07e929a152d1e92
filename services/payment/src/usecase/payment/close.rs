//! Asking a channel now, and closing.

use tael_fault::crash_point;
use tael_ids::{MerchantId, PaymentId};

use super::super::{Internal, Payments, wait_for};
use super::{PaymentError, attempt_ref};
use crate::accounts::OpenAccount;
use crate::channel::Closing;
use crate::domain::evidence::Evidence;
use crate::domain::payment::{Attempt, Payment};
use crate::store;

impl Payments {
    /// Does the poller's step now: asks the channel what became of a payment and records its evidence.
    #[tracing::instrument(name = "payment.sync", skip_all)]
    pub(crate) async fn sync(&self, merchant_id: MerchantId, id: PaymentId) -> Result<Payment, PaymentError> {
        if let Some(payment) = self.lease(merchant_id, id).await? {
            let attempt = payment.latest_attempt();
            let open = self.open_account_of(attempt).await?;
            if self.may_call(&payment, attempt, &open).await? {
                self.poll(&payment, attempt, &open).await?;
            }
        }
        self.payment(merchant_id, id).await
    }

    /// Closes a payment at the channel; afterwards it brings no more money. Only the channel's evidence closes it.
    ///
    /// Nobody else may be calling the channel about it meanwhile: an initiation that is under way could put a code
    /// on the payer's screen after the channel was told to close.
    #[tracing::instrument(name = "payment.close", skip_all)]
    pub(crate) async fn close(
        &self,
        merchant_id: MerchantId,
        id: PaymentId,
    ) -> Result<Payment, PaymentError> {
        if let Some(payment) = self.lease(merchant_id, id).await? {
            let attempt = payment.latest_attempt();
            crash_point("payment.close.leased");
            let open = self.open_account_of(attempt).await?;
            if self.may_call(&payment, attempt, &open).await? {
                self.close_at_channel(&payment, attempt, &open).await?;
            }
        }
        self.payment(merchant_id, id).await
    }

    /// Tells the channel to close an attempt and records what came of it, by the holder of its lease.
    pub(super) async fn close_at_channel(
        &self,
        payment: &Payment,
        attempt: &Attempt,
        open: &OpenAccount,
    ) -> Result<(), Internal> {
        let closing = open.channel.close(&attempt_ref(attempt)).await;
        crash_point("payment.close.called");
        let evidence = match closing {
            Closing::Closed => Evidence::Closed,
            Closing::Paid(paid) => Evidence::Paid(paid),
            Closing::Reversed(paid) => Evidence::Reversed(paid),
            Closing::Unknown { problem } => Evidence::Unknown { problem },
        };
        self.record(payment, attempt, open, evidence).await?;
        Ok(())
    }

    /// Takes the lease of a payment's open attempt, waiting for who has it; returns the payment as it is then. None
    /// when the attempt has ended, or when the caller's deadline nears first.
    pub(in crate::usecase) async fn lease(
        &self,
        merchant_id: MerchantId,
        id: PaymentId,
    ) -> Result<Option<Payment>, PaymentError> {
        let leased = wait_for::<_, PaymentError, _>(|| async {
            let payment = self.payment(merchant_id, id).await?;
            let attempt = payment.latest_attempt();
            if !attempt.state.is_open() {
                return Ok(Some(None));
            }
            let now = self.clock.now();
            let until = self.lease_until(now);
            if !store::payment::lease(&self.pool, merchant_id, attempt.id, now, until).await? {
                return Ok(None);
            }
            // Read again: who had the lease before may have changed it.
            Ok(Some(Some(self.payment(merchant_id, id).await?)))
        })
        .await?;
        Ok(leased.flatten())
    }
}
