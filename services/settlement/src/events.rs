//! The logs that settlement consumes, and what it publishes.

use sqlx::PgConnection;
use tael_clock::Clock;
use tael_eventlog::{ApplyError, Handler, NewEvent, Received};
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{BatchClosed, Event, PaymentRefunded, PaymentSucceeded};
use tael_proto::r#type::v1::Money as WireMoney;

use crate::clients::{channel, money, timestamp};
use crate::domain::batch::Batch;
use crate::domain::posting::{PaymentTaken, RefundMade, Suspension};
use crate::domain::transfer::Source;
use crate::usecase::posting::{PostError, post_movements, post_suspensions};

/// Posts what the payment service's log says. Everything else in it is skipped.
#[derive(Clone, Debug)]
pub(crate) struct PaymentLog {
    clock: Clock,
}

/// Posts what the order service's log says of money that an order could not take. Everything else in it is skipped.
#[derive(Clone, Debug)]
pub(crate) struct OrderLog {
    clock: Clock,
}

/// An event that lacks a field or has an unusable one.
#[derive(Debug, thiserror::Error)]
#[error("event {event_id}: no usable {field}")]
struct Malformed {
    event_id: String,
    field: &'static str,
}

impl PaymentLog {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock }
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
                Kind::PaymentSucceeded(fact) => payments.push(payment_taken(event, fact).map_err(malformed)?),
                Kind::PaymentRefunded(fact) => refunds.push(refund_made(event, fact).map_err(malformed)?),
                _ => {}
            }
        }
        post_movements(tx, &payments, &refunds, self.clock.now()).await?;
        Ok(())
    }
}

impl OrderLog {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock }
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
        post_suspensions(tx, &holds, &releases, self.clock.now()).await?;
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

fn payment_taken(event: &Event, fact: &PaymentSucceeded) -> Result<PaymentTaken, &'static str> {
    let time = fact.pay_time.as_ref().or(event.occur_time.as_ref());
    Ok(PaymentTaken {
        merchant_id: event.merchant_id.parse().map_err(|_| "merchant_id")?,
        payment_id: fact.payment_id.parse().map_err(|_| "payment_id")?,
        attempt_id: fact.attempt_id.parse().map_err(|_| "attempt_id")?,
        amount: money(fact.amount.as_ref()).ok_or("amount")?,
        source: source(event, fact.channel, &fact.channel_account_id)?,
        occur_time: timestamp(time).ok_or("pay_time")?,
    })
}

fn refund_made(event: &Event, fact: &PaymentRefunded) -> Result<RefundMade, &'static str> {
    let time = fact.refund_time.as_ref().or(event.occur_time.as_ref());
    let reversed_attempt =
        fact.reversal.then(|| fact.attempt_id.parse()).transpose().map_err(|_| "attempt_id")?;
    Ok(RefundMade {
        merchant_id: event.merchant_id.parse().map_err(|_| "merchant_id")?,
        payment_id: fact.payment_id.parse().map_err(|_| "payment_id")?,
        refund_id: fact.refund_id.parse().map_err(|_| "refund_id")?,
        reversed_attempt,
        amount: money(fact.amount.as_ref()).ok_or("amount")?,
        refunded_total: money(fact.refunded_total.as_ref()).ok_or("refunded_total")?,
        source: source(event, fact.channel, &fact.channel_account_id)?,
        occur_time: timestamp(time).ok_or("refund_time")?,
    })
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

fn source(event: &Event, wire_channel: i32, channel_account_id: &str) -> Result<Source, &'static str> {
    Ok(Source {
        channel: channel(wire_channel).ok_or("channel")?,
        channel_account_id: channel_account_id.parse().map_err(|_| "channel_account_id")?,
        event_id: event.event_id.parse().map_err(|_| "event_id")?,
    })
}

/// Says that a batch was closed.
pub(crate) fn batch_closed(batch: &Batch) -> NewEvent {
    NewEvent {
        merchant_id: batch.merchant_id,
        aggregate_id: batch.id.to_string(),
        kind: Kind::BatchClosed(BatchClosed {
            batch_id: batch.id.to_string(),
            net: Some(tael_grpc::convert::money(batch.net)),
        }),
        occur_time: batch.close_time,
        traceparent: None,
    }
}
