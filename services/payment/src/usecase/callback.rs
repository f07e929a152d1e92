//! Callbacks of channels.

use tael_fault::crash_point;
use tael_ids::{AttemptId, ChannelAccountId, RefundId};
use tracing::{Instrument as _, Span};

use super::payment::Recorded;
use super::{Internal, Payments};
use crate::accounts::{OpenAccount, OpenError};
use crate::channel::{Acknowledgement, Callback, Notice};
use crate::domain::evidence::{Verdict, judge};
use crate::domain::payment::Payment;
use crate::domain::refund_execution::RefundState;
use crate::store;

/// What is told to whoever calls an address that is nobody's.
const UNKNOWN_ACCOUNT: Acknowledgement =
    Acknowledgement { status: 404, content_type: "text/plain; charset=utf-8", body: "failure" };

impl Payments {
    /// Takes a callback as it came. The signature is verified before anything else is done with it. The channel is
    /// told that it was taken only after what it says is committed; an error makes it come again.
    #[tracing::instrument(name = "callback.handle", skip_all)]
    pub(crate) async fn handle_callback(
        &self,
        channel: &str,
        account_id: ChannelAccountId,
        mut callback: Callback,
    ) -> Result<Acknowledgement, Internal> {
        let open = match self.accounts.open(account_id).await {
            Ok(open) if open.registration.name == channel => open,
            Ok(_) => return Ok(UNKNOWN_ACCOUNT),
            Err(error) if matches!(*error, OpenError::NotFound(_)) => return Ok(UNKNOWN_ACCOUNT),
            Err(error) => return Err(error.into()),
        };
        callback.headers.retain(|name, _| open.registration.callback_headers.contains(&name.as_str()));
        let notices = match open.channel.read_callback(&callback).await {
            Ok(notices) => notices,
            Err(error) => {
                tracing::warn!(tael.channel_account_id = %account_id, %error, "a callback is rejected");
                return Ok(open.channel.acknowledge(false));
            }
        };
        let mut taken = true;
        for notice in &notices {
            taken &= self.handle_notice(&open, notice).await?;
        }
        Ok(open.channel.acknowledge(taken))
    }

    /// Records one verified notice in its payment's trace; says whether the channel may forget it.
    async fn handle_notice(&self, open: &OpenAccount, notice: &Notice) -> Result<bool, Internal> {
        let Some(payment) = self.payment_of(open, notice).await? else {
            let account_id = open.account.id;
            tracing::warn!(tael.channel_account_id = %account_id, "a callback is about a number that is not ours");
            return Ok(false);
        };
        let attempt_id = AttemptId::from_channel_number(&notice.number).ok();
        let traceparent =
            attempt_id.and_then(|id| payment.attempt(id)).map_or("", |attempt| &attempt.traceparent);
        // Joins the payment's trace: the callback itself came without one.
        let span = tracing::info_span!(
            "callback",
            otel.name = format!("callback.{}", open.registration.name),
            otel.kind = "consumer",
            tael.merchant_id = %payment.merchant_id,
            tael.order_id = %payment.order_id,
            tael.payment_id = %payment.id,
            tael.channel = open.registration.name,
        );
        tael_telemetry::follow(&span, traceparent);
        tael_telemetry::link(&span, &Span::current());
        crash_point("payment.callback.verified");
        let taken = self.apply_callback(open, &payment, notice).instrument(span).await?;
        crash_point("payment.callback.recorded");
        Ok(taken)
    }

    async fn payment_of(&self, open: &OpenAccount, notice: &Notice) -> Result<Option<Payment>, Internal> {
        let Ok(attempt_id) = AttemptId::from_channel_number(&notice.number) else { return Ok(None) };
        let merchant_id = open.account.merchant_id;
        Ok(store::payment::of_attempt(&self.pool, merchant_id, open.account.id, attempt_id).await?)
    }

    /// Records what a verified callback says; says whether the channel may forget it.
    async fn apply_callback(
        &self,
        open: &OpenAccount,
        payment: &Payment,
        notice: &Notice,
    ) -> Result<bool, Internal> {
        let attempt_id = AttemptId::from_channel_number(&notice.number).ok();
        let attempt = attempt_id.and_then(|id| payment.attempt(id)).ok_or(Internal::RowVanished)?;
        if !self.verify_claim(payment, open, &notice.claim).await? {
            return Ok(false);
        }
        if let Some(evidence) = &notice.evidence {
            match judge(&attempt.state, evidence) {
                // Nothing to record, and the attempt's schedule is not ours to touch.
                Verdict::Stay { .. } => {}
                Verdict::Ended
                | Verdict::AwaitPayer
                | Verdict::Succeed
                | Verdict::Reverse
                | Verdict::Close
                | Verdict::Fail => {
                    let recorded = self.apply(payment, attempt, open, evidence.clone()).await?;
                    if recorded == Recorded::Contradicted {
                        return Ok(false);
                    }
                }
            }
        }
        match &notice.refund_number {
            Some(number) => self.poll_refund(payment, number).await,
            None => Ok(true),
        }
    }

    /// A callback about a refund is no more than a reason to ask; says whether the channel may forget it.
    async fn poll_refund(&self, payment: &Payment, number: &str) -> Result<bool, Internal> {
        let merchant_id = payment.merchant_id;
        let Ok(id) = RefundId::from_channel_number(number) else { return Ok(not_ours(payment)) };
        let now = self.clock.now();
        let until = self.lease_until(now);
        if let Some(refund) = store::refund_execution::lease(&self.pool, merchant_id, id, now, until).await? {
            self.execute_refund(refund).await?;
        }
        // Still pending: somebody else is asking, or there was no clear answer. The channel shall come again.
        let mut conn = self.pool.acquire().await?;
        let refund = store::refund_execution::get(&mut conn, merchant_id, id).await?;
        Ok(refund.map_or_else(|| not_ours(payment), |refund| refund.state != RefundState::Pending))
    }
}

/// A refund that was made in the channel's own console: nothing of ours waits for it, and a person may want to know.
fn not_ours(payment: &Payment) -> bool {
    tracing::warn!(tael.payment_id = %payment.id, "the channel tells of a refund that is not ours");
    true
}
