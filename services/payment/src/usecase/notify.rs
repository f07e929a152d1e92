//! Callbacks of channels.

use tael_fault::crash_point;
use tael_ids::{AttemptId, ChannelAccountId, RefundId};
use tracing::{Instrument as _, Span};

use super::evidence::Recorded;
use super::{Error, Payments};
use crate::accounts::{OpenAccount, OpenError};
use crate::channel::{Acknowledgement, Notification};
use crate::domain::account::Channel;
use crate::domain::evidence::{Verdict, judge};
use crate::domain::payment::Payment;
use crate::domain::refund::RefundState;
use crate::store;

/// What is told to whoever calls an address that is nobody's.
const NOBODY: Acknowledgement =
    Acknowledgement { status: 404, content_type: "text/plain; charset=utf-8", body: "failure" };

impl Payments {
    /// Takes a callback as it came. The signature is verified before anything else is done with it. The channel is
    /// told that it was taken only after what it says is committed; an error makes it come again.
    #[tracing::instrument(name = "notification.handle", skip_all)]
    pub(crate) async fn handle_notification(
        &self,
        channel: Channel,
        account_id: ChannelAccountId,
        body: &[u8],
    ) -> Result<Acknowledgement, Error> {
        let open = match self.accounts.open(account_id).await {
            Ok(open) if open.account.channel() == channel => open,
            Ok(_) => return Ok(NOBODY),
            Err(error) if matches!(*error, OpenError::NotFound(_)) => return Ok(NOBODY),
            Err(error) => return Err(error.into()),
        };
        let notification = match open.adapter.read_notification(body) {
            Ok(notification) => notification,
            Err(error) => {
                tracing::warn!(tael.channel_account_id = %account_id, %error, "a notification is not believed");
                return Ok(open.adapter.acknowledge(false));
            }
        };
        let Some(payment) = self.payment_of(&open, &notification).await? else {
            tracing::warn!(tael.channel_account_id = %account_id, "a notification is about a number that is not ours");
            return Ok(open.adapter.acknowledge(false));
        };
        let attempt_id = AttemptId::from_channel_number(&notification.number).ok();
        let traceparent =
            attempt_id.and_then(|id| payment.attempt(id)).map_or("", |attempt| &attempt.traceparent);
        // Joins the payment's trace: the callback itself came without one.
        let span = tracing::info_span!(
            "callback",
            otel.name = format!("callback.{}", channel.name()),
            otel.kind = "consumer",
            tael.merchant_id = %payment.merchant_id,
            tael.order_id = %payment.order_id,
            tael.payment_id = %payment.id,
            tael.channel = channel.name(),
        );
        tael_telemetry::follow(&span, traceparent);
        tael_telemetry::link(&span, &Span::current());
        crash_point("payment.notification.verified");
        let taken = self.take(&open, &payment, &notification).instrument(span).await?;
        crash_point("payment.notification.recorded");
        Ok(open.adapter.acknowledge(taken))
    }

    async fn payment_of(&self, open: &OpenAccount, told: &Notification) -> Result<Option<Payment>, Error> {
        let Ok(attempt_id) = AttemptId::from_channel_number(&told.number) else { return Ok(None) };
        let merchant_id = open.account.merchant_id;
        Ok(store::payment::of_attempt(&self.pool, merchant_id, open.account.id, attempt_id).await?)
    }

    /// Records what a verified notification says; says whether the channel may forget it.
    async fn take(&self, open: &OpenAccount, payment: &Payment, told: &Notification) -> Result<bool, Error> {
        let attempt_id = AttemptId::from_channel_number(&told.number).ok();
        let attempt = attempt_id.and_then(|id| payment.attempt(id)).ok_or(Error::RowVanished)?;
        if !self.agrees(payment, open, &told.claim).await? {
            return Ok(false);
        }
        if let Some(evidence) = &told.evidence {
            match judge(&attempt.state, evidence) {
                // Nothing to record, and the attempt's schedule is not ours to touch.
                Verdict::Stay { .. } => {}
                Verdict::Ended
                | Verdict::Present
                | Verdict::Succeed
                | Verdict::Reverse
                | Verdict::Close
                | Verdict::Fail => {
                    let recorded = self.apply(payment, attempt, open, evidence.clone()).await?;
                    if recorded == Recorded::Alarmed {
                        return Ok(false);
                    }
                }
            }
        }
        match &told.refund_number {
            Some(number) => self.look_at_refund(payment, number).await,
            None => Ok(true),
        }
    }

    /// A notification of a refund is no more than a reason to ask; says whether the channel may forget it.
    async fn look_at_refund(&self, payment: &Payment, number: &str) -> Result<bool, Error> {
        let merchant_id = payment.merchant_id;
        let Ok(id) = RefundId::from_channel_number(number) else { return Ok(not_ours(payment)) };
        let now = self.clock.now();
        let until = self.lease_until(now);
        if let Some(refund) = store::refund::lease(&self.pool, merchant_id, id, now, until).await? {
            self.execute_refund(refund).await?;
        }
        // Still pending: somebody else is asking, or there was no clear answer. The channel shall come again.
        match self.get_refund(merchant_id, id).await {
            Ok(refund) => Ok(refund.state != RefundState::Pending),
            Err(Error::RefundNotFound(_)) => Ok(not_ours(payment)),
            Err(error) => Err(error),
        }
    }
}

/// A refund that was made in the channel's own console: nothing of ours waits for it, and a person may want to know.
fn not_ours(payment: &Payment) -> bool {
    tracing::warn!(tael.payment_id = %payment.id, "the channel tells of a refund that is not ours");
    true
}
