//! What this service makes of other services' events: each is read, and a use case applies the batch.

use jiff::Timestamp;
use sqlx::PgConnection;
use tael_clock::Clock;
use tael_eventlog::{ApplyError, EventLog, Handler, Received};
use tael_ids::{ParseIdError, PaymentId, RefundId};
use tael_money::{Currency, Money};
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{
    PaymentRefundFailed, PaymentRefunded, PaymentSucceeded, RefundFailed, RefundSucceeded, RefundedLine,
};
use tael_proto::r#type::v1 as wire;

use crate::domain::order_balance::{FailedRefund, OrderRefund, PaymentReceived};
use crate::domain::unapplied_payment::RefundOutcome;
use crate::usecase::unapplied_payment::CompletedRefund;
use crate::usecase::{order_refund, payment_received};

/// Applies the payment service's log: money that came, money that the channel gave back in closing, and what became of
/// refunds of unapplied payments. Other refunds are told by the refund service, which knows what they are for.
#[derive(Debug)]
pub(crate) struct PaymentConsumer {
    pub(crate) log: EventLog,
    pub(crate) clock: Clock,
}

impl Handler for PaymentConsumer {
    fn handles(&self, kind: &Kind) -> bool {
        match kind {
            // Money that came and went pays nothing and is not there to be held.
            Kind::PaymentSucceeded(succeeded) => !succeeded.reversed,
            // Whose refund it is shows when it is applied.
            Kind::PaymentRefunded(_) | Kind::PaymentRefundFailed(_) => true,
            _ => false,
        }
    }

    async fn apply(&self, tx: &mut PgConnection, events: &[Received]) -> Result<(), ApplyError> {
        let mut payments = Vec::new();
        let mut reversals = Vec::new();
        let mut refunds = Vec::new();
        for received in events {
            match &received.kind {
                Kind::PaymentSucceeded(succeeded) => {
                    payments.push(payment(received, succeeded).map_err(poison)?);
                }
                Kind::PaymentRefunded(refunded) if refunded.reversal => {
                    reversals.push(reversal(received, refunded).map_err(poison)?);
                }
                Kind::PaymentRefunded(PaymentRefunded { refund_id, .. }) => {
                    refunds.push(
                        completed_refund(received, refund_id, RefundOutcome::Refunded).map_err(poison)?,
                    );
                }
                Kind::PaymentRefundFailed(PaymentRefundFailed { refund_id, reason, .. }) => {
                    let outcome = RefundOutcome::Refused(reason.clone());
                    refunds.push(completed_refund(received, refund_id, outcome).map_err(poison)?);
                }
                _ => {}
            }
        }
        payment_received::apply_payments(tx, &self.log, self.clock.now(), &payments, &reversals, &refunds)
            .await
    }

    fn applied(&self) {
        self.log.wake();
    }
}

/// Applies the refund service's log: money that went back, and refunds that will not happen.
#[derive(Debug)]
pub(crate) struct RefundConsumer {
    pub(crate) log: EventLog,
    pub(crate) clock: Clock,
}

impl Handler for RefundConsumer {
    fn handles(&self, kind: &Kind) -> bool {
        matches!(kind, Kind::RefundSucceeded(_) | Kind::RefundFailed(_))
    }

    async fn apply(&self, tx: &mut PgConnection, events: &[Received]) -> Result<(), ApplyError> {
        let mut refunds = Vec::new();
        let mut failures = Vec::new();
        for received in events {
            match &received.kind {
                Kind::RefundSucceeded(succeeded) => {
                    refunds.push(refund(received, succeeded).map_err(poison)?);
                }
                Kind::RefundFailed(failed) => {
                    failures.push(failed_refund(received, failed).map_err(poison)?);
                }
                _ => {}
            }
        }
        order_refund::apply_refunds(tx, &self.log, self.clock.now(), &refunds, &failures).await
    }

    fn applied(&self) {
        self.log.wake();
    }
}

/// An event does not say what its contract says it does.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error("{0} is malformed")]
    Id(&'static str, #[source] ParseIdError),
    #[error("the amount is missing, not above zero or in an unknown currency")]
    Amount,
    #[error("the time is missing or malformed")]
    Time,
}

fn poison(error: Malformed) -> ApplyError {
    ApplyError::Poison(Box::new(error))
}

fn payment(received: &Received, succeeded: &PaymentSucceeded) -> Result<PaymentReceived, Malformed> {
    let time = succeeded.pay_time.as_ref().ok_or(Malformed::Time)?;
    Ok(PaymentReceived {
        merchant_id: id("merchant_id", &received.event.merchant_id)?,
        order_id: id("order_id", &succeeded.order_id)?,
        payment_id: id::<PaymentId>("payment_id", &succeeded.payment_id)?,
        amount: amount(succeeded.amount.as_ref())?,
        pay_time: Timestamp::new(time.seconds, time.nanos).map_err(|_| Malformed::Time)?,
        traceparent: received.traceparent(),
    })
}

fn reversal(received: &Received, refunded: &PaymentRefunded) -> Result<OrderRefund, Malformed> {
    Ok(OrderRefund {
        merchant_id: id("merchant_id", &received.event.merchant_id)?,
        order_id: id("order_id", &refunded.order_id)?,
        payment_id: id("payment_id", &refunded.payment_id)?,
        refund_id: id::<RefundId>("refund_id", &refunded.refund_id)?,
        amount: amount(refunded.amount.as_ref())?,
        lines: Vec::new(),
        traceparent: received.traceparent(),
    })
}

fn completed_refund(
    received: &Received,
    refund_id: &str,
    outcome: RefundOutcome,
) -> Result<CompletedRefund, Malformed> {
    Ok(CompletedRefund {
        merchant_id: id("merchant_id", &received.event.merchant_id)?,
        refund_id: id("refund_id", refund_id)?,
        outcome,
        traceparent: received.traceparent(),
    })
}

fn refund(received: &Received, succeeded: &RefundSucceeded) -> Result<OrderRefund, Malformed> {
    let line = |line: &RefundedLine| Ok((id("line_id", &line.line_id)?, line.quantity));
    Ok(OrderRefund {
        merchant_id: id("merchant_id", &received.event.merchant_id)?,
        order_id: id("order_id", &succeeded.order_id)?,
        payment_id: id("payment_id", &succeeded.payment_id)?,
        refund_id: id::<RefundId>("refund_id", &succeeded.refund_id)?,
        amount: amount(succeeded.amount.as_ref())?,
        lines: succeeded.lines.iter().map(line).collect::<Result<_, Malformed>>()?,
        traceparent: received.traceparent(),
    })
}

fn failed_refund(received: &Received, failed: &RefundFailed) -> Result<FailedRefund, Malformed> {
    Ok(FailedRefund {
        order: (id("merchant_id", &received.event.merchant_id)?, id("order_id", &failed.order_id)?),
        refund_id: id("refund_id", &failed.refund_id)?,
    })
}

fn id<T: std::str::FromStr<Err = ParseIdError>>(field: &'static str, text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|e| Malformed::Id(field, e))
}

fn amount(amount: Option<&wire::Money>) -> Result<Money, Malformed> {
    let amount = amount.ok_or(Malformed::Amount)?;
    let currency = Currency::parse(&amount.currency).map_err(|_| Malformed::Amount)?;
    let money = Money::new(amount.minor, currency);
    if money.is_positive() { Ok(money) } else { Err(Malformed::Amount) }
}
