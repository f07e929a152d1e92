//! The logs that settlement consumes, above the use cases that post what they say.

use sqlx::PgConnection;
use tael_clock::Clock;
use tael_eventlog::{ApplyError, Handler, Received};
use tael_money::Money;
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{Event, PaymentRefunded, PaymentSucceeded};
use tael_proto::r#type::v1::Money as WireMoney;

use crate::clients::{channel, money, timestamp};
use crate::domain::ledger::posting::{PaymentCaptured, RefundCompleted, Suspension};
use crate::domain::ledger::transfer::{ChannelRef, RefundOrigin};
use crate::store::ledger::rules::StoredRules;
use crate::usecase::ledger::posting::{PostError, post_movements, post_suspensions};

/// Posts what the payment service's log says. Everything else in it is skipped.
#[derive(Clone, Debug)]
pub(crate) struct PaymentLog {
    clock: Clock,
    rules: StoredRules,
}

/// Posts what the order service's log says of money that an order could not take. Everything else in it is skipped.
#[derive(Clone, Debug)]
pub(crate) struct OrderLog {
    clock: Clock,
    rules: StoredRules,
}

/// An event that lacks a field or has an unusable one.
#[derive(Debug, thiserror::Error)]
#[error("event {event_id}: no usable {field}")]
struct Malformed {
    event_id: String,
    field: &'static str,
}

impl PaymentLog {
    pub(crate) fn new(clock: Clock, rules: StoredRules) -> Self {
        Self { clock, rules }
    }
}

impl Handler for PaymentLog {
    fn handles(&self, kind: &Kind) -> bool {
        matches!(kind, Kind::PaymentSucceeded(_) | Kind::PaymentRefunded(_))
    }

    async fn apply(&self, tx: &mut PgConnection, events: &[Received]) -> Result<(), ApplyError> {
        let mut payments = Vec::new();
        let mut refunds = Vec::new();
        for received in events {
            let event = &received.event;
            let malformed = |field| poison(event, field);
            match &received.kind {
                Kind::PaymentSucceeded(fact) => {
                    payments.push(payment_captured(event, fact).map_err(malformed)?);
                }
                Kind::PaymentRefunded(fact) => {
                    refunds.push(refund_completed(event, fact).map_err(malformed)?);
                }
                _ => {}
            }
        }
        let rules = self.rules.get(tx).await?;
        post_movements(tx, rules, &payments, &refunds, self.clock.now()).await?;
        Ok(())
    }
}

impl OrderLog {
    pub(crate) fn new(clock: Clock, rules: StoredRules) -> Self {
        Self { clock, rules }
    }
}

impl Handler for OrderLog {
    fn handles(&self, kind: &Kind) -> bool {
        matches!(kind, Kind::OrderPaymentHeld(_) | Kind::OrderPaymentReleased(_))
    }

    async fn apply(&self, tx: &mut PgConnection, events: &[Received]) -> Result<(), ApplyError> {
        let mut holds = Vec::new();
        let mut releases = Vec::new();
        for received in events {
            let event = &received.event;
            let suspension = |payment_id: &str, amount: Option<&WireMoney>| {
                suspension(event, payment_id, amount).map_err(|field| poison(event, field))
            };
            match &received.kind {
                Kind::OrderPaymentHeld(fact) => {
                    holds.push(suspension(&fact.payment_id, fact.amount.as_ref())?);
                }
                Kind::OrderPaymentReleased(fact) => {
                    releases.push(suspension(&fact.payment_id, fact.amount.as_ref())?);
                }
                _ => {}
            }
        }
        let rules = self.rules.get(tx).await?;
        post_suspensions(tx, rules, &holds, &releases, self.clock.now()).await?;
        Ok(())
    }
}

fn poison(event: &Event, field: &'static str) -> ApplyError {
    ApplyError::Poison(Box::new(Malformed { event_id: event.event_id.clone(), field }))
}

impl From<PostError> for ApplyError {
    fn from(error: PostError) -> Self {
        match error {
            PostError::Database(error) => error.into(),
            PostError::Outrun => Self::Transient(Box::new(error)),
            PostError::Refused(_) | PostError::PostedDifferently(_) => Self::Poison(Box::new(error)),
        }
    }
}

fn payment_captured(event: &Event, fact: &PaymentSucceeded) -> Result<PaymentCaptured, &'static str> {
    let time = fact.pay_time.as_ref().or(event.occur_time.as_ref());
    let amount = money(fact.amount.as_ref()).ok_or("amount")?;
    Ok(PaymentCaptured {
        merchant_id: event.merchant_id.parse().map_err(|_| "merchant_id")?,
        payment_id: fact.payment_id.parse().map_err(|_| "payment_id")?,
        attempt_id: fact.attempt_id.parse().map_err(|_| "attempt_id")?,
        amount,
        received: received(fact.received.as_ref())?.unwrap_or(amount),
        channel_ref: channel_ref(
            event,
            fact.channel,
            &fact.channel_account_id,
            &fact.channel_transaction_id,
        )?,
        occur_time: timestamp(time).ok_or("pay_time")?,
    })
}

fn refund_completed(event: &Event, fact: &PaymentRefunded) -> Result<RefundCompleted, &'static str> {
    let time = fact.refund_time.as_ref().or(event.occur_time.as_ref());
    let origin = match (fact.made_at_channel, fact.reversal) {
        (true, _) if fact.refund_number.is_empty() => return Err("refund_number"),
        (true, _) => RefundOrigin::MadeAtChannel { number: fact.refund_number.clone() },
        (false, true) => RefundOrigin::Reversal(fact.attempt_id.parse().map_err(|_| "attempt_id")?),
        (false, false) => RefundOrigin::Requested,
    };
    Ok(RefundCompleted {
        merchant_id: event.merchant_id.parse().map_err(|_| "merchant_id")?,
        payment_id: fact.payment_id.parse().map_err(|_| "payment_id")?,
        refund_id: fact.refund_id.parse().map_err(|_| "refund_id")?,
        origin,
        amount: money(fact.amount.as_ref()).ok_or("amount")?,
        received: received(fact.received.as_ref())?,
        refunded_total: money(fact.refunded_total.as_ref()).ok_or("refunded_total")?,
        channel_ref: channel_ref(
            event,
            fact.channel,
            &fact.channel_account_id,
            &fact.channel_transaction_id,
        )?,
        occur_time: timestamp(time).ok_or("refund_time")?,
    })
}

/// What was received, where it is said.
fn received(wire: Option<&WireMoney>) -> Result<Option<Money>, &'static str> {
    wire.map(|wire| money(Some(wire)).ok_or("received")).transpose()
}

fn suspension(
    event: &Event,
    payment_id: &str,
    amount: Option<&WireMoney>,
) -> Result<Suspension, &'static str> {
    Ok(Suspension {
        merchant_id: event.merchant_id.parse().map_err(|_| "merchant_id")?,
        payment_id: payment_id.parse().map_err(|_| "payment_id")?,
        amount: money(amount).ok_or("amount")?,
        event_id: event.event_id.parse().map_err(|_| "event_id")?,
        occur_time: timestamp(event.occur_time.as_ref()).ok_or("occur_time")?,
    })
}

fn channel_ref(
    event: &Event,
    wire_channel: i32,
    channel_account_id: &str,
    transaction_id: &str,
) -> Result<ChannelRef, &'static str> {
    Ok(ChannelRef {
        channel: channel(wire_channel).ok_or("channel")?,
        channel_account_id: channel_account_id.parse().map_err(|_| "channel_account_id")?,
        transaction_id: Some(transaction_id).filter(|id| !id.is_empty()).map(str::to_owned),
        event_id: event.event_id.parse().map_err(|_| "event_id")?,
    })
}
