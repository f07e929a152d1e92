//! What this service tells in its log, and what it makes of the logs of others.

use jiff::Timestamp;
use sqlx::PgConnection;
use tael_clock::Clock;
use tael_eventlog::{ApplyError, EventLog, Handler, NewEvent, Received};
use tael_grpc::convert;
use tael_ids::{MerchantId, OrderId, ParseIdError, PaymentId, RefundId};
use tael_money::{Currency, Money};
use tael_proto::event::v1::payload::Kind;
use tael_proto::event::v1::{
    OrderCancelled, OrderCreated, OrderExpired, OrderPaid, OrderPaymentHeld, OrderPaymentReleased,
    OrderRefunded, PaymentRefundFailed, PaymentRefunded, PaymentSucceeded, RefundSucceeded, VoucherIssued,
    VoucherRedeemed,
};
use tael_proto::r#type::v1 as wire;

use crate::domain::held::{HeldPayment, Outcome};
use crate::domain::order::Order;
use crate::domain::voucher::{NewRedemption, Voucher};
use crate::usecase::held::RefundEnd;
use crate::usecase::received::{self, Receipt};
use crate::usecase::refunded::{self, PaidRefund};

/// An order was priced and stored.
pub(crate) fn created(order: &Order) -> NewEvent {
    let kind = Kind::OrderCreated(OrderCreated {
        order_id: order.id.to_string(),
        total: Some(convert::money(order.price.total)),
        expire_time: Some(convert::timestamp(order.expire_time)),
    });
    of_order(order.merchant_id, order.id, kind, order.create_time)
}

/// An order was given up by request.
pub(crate) fn cancelled(merchant_id: MerchantId, id: OrderId, now: Timestamp) -> NewEvent {
    let kind = Kind::OrderCancelled(OrderCancelled { order_id: id.to_string() });
    of_order(merchant_id, id, kind, now)
}

/// An order ran out of time.
pub(crate) fn expired(merchant_id: MerchantId, id: OrderId, now: Timestamp) -> NewEvent {
    let kind = Kind::OrderExpired(OrderExpired { order_id: id.to_string() });
    of_order(merchant_id, id, kind, now)
}

/// An order was paid.
pub(crate) fn paid(receipt: &Receipt, now: Timestamp) -> NewEvent {
    let kind = Kind::OrderPaid(OrderPaid {
        order_id: receipt.order_id.to_string(),
        payment_id: receipt.payment_id.to_string(),
        amount: Some(convert::money(receipt.amount)),
    });
    let event = of_order(receipt.merchant_id, receipt.order_id, kind, now);
    NewEvent { traceparent: receipt.traceparent.clone(), ..event }
}

/// Money came that an order could not take.
pub(crate) fn held(receipt: &Receipt, now: Timestamp) -> NewEvent {
    let kind = Kind::OrderPaymentHeld(OrderPaymentHeld {
        order_id: receipt.order_id.to_string(),
        payment_id: receipt.payment_id.to_string(),
        amount: Some(convert::money(receipt.amount)),
    });
    let event = of_order(receipt.merchant_id, receipt.order_id, kind, now);
    NewEvent { traceparent: receipt.traceparent.clone(), ..event }
}

/// The order took money that had been held, and is paid.
pub(crate) fn accepted(receipt: &Receipt, now: Timestamp) -> [NewEvent; 2] {
    let kind = Kind::OrderPaymentReleased(OrderPaymentReleased {
        order_id: receipt.order_id.to_string(),
        payment_id: receipt.payment_id.to_string(),
        amount: Some(convert::money(receipt.amount)),
        accepted: true,
    });
    let event = of_order(receipt.merchant_id, receipt.order_id, kind, now);
    [NewEvent { traceparent: receipt.traceparent.clone(), ..event }, paid(receipt, now)]
}

/// The payer got held money back.
pub(crate) fn given_back(
    merchant_id: MerchantId,
    payment: &HeldPayment,
    traceparent: Option<String>,
    now: Timestamp,
) -> NewEvent {
    let kind = Kind::OrderPaymentReleased(OrderPaymentReleased {
        order_id: payment.order_id.to_string(),
        payment_id: payment.payment_id.to_string(),
        amount: Some(convert::money(payment.amount)),
        accepted: false,
    });
    NewEvent { traceparent, ..of_order(merchant_id, payment.order_id, kind, now) }
}

/// A part of an order was refunded; `refunded` is the sum so far.
pub(crate) fn refunded(refund: &PaidRefund, refunded: Money, now: Timestamp) -> NewEvent {
    let kind = Kind::OrderRefunded(OrderRefunded {
        order_id: refund.order_id.to_string(),
        refund_id: refund.refund_id.to_string(),
        refunded: Some(convert::money(refunded)),
    });
    let event = of_order(refund.merchant_id, refund.order_id, kind, now);
    NewEvent { traceparent: refund.traceparent.clone(), ..event }
}

/// A voucher was issued because of a receipt.
pub(crate) fn issued(voucher: &Voucher, receipt: &Receipt) -> NewEvent {
    NewEvent {
        merchant_id: receipt.merchant_id,
        aggregate_id: voucher.id.to_string(),
        kind: Kind::VoucherIssued(VoucherIssued {
            voucher_id: voucher.id.to_string(),
            order_id: voucher.order_id.to_string(),
            uses: voucher.uses,
        }),
        occur_time: voucher.issue_time,
        traceparent: receipt.traceparent.clone(),
    }
}

/// A voucher was redeemed.
pub(crate) fn redeemed(
    merchant_id: MerchantId,
    voucher: &Voucher,
    redemption: &NewRedemption,
    now: Timestamp,
) -> NewEvent {
    NewEvent {
        merchant_id,
        aggregate_id: voucher.id.to_string(),
        kind: Kind::VoucherRedeemed(VoucherRedeemed {
            voucher_id: voucher.id.to_string(),
            order_id: voucher.order_id.to_string(),
            count: redemption.count,
            terminal: redemption.terminal.clone(),
        }),
        occur_time: now,
        traceparent: None,
    }
}

fn of_order(merchant_id: MerchantId, id: OrderId, kind: Kind, occur_time: Timestamp) -> NewEvent {
    NewEvent { merchant_id, aggregate_id: id.to_string(), kind, occur_time, traceparent: None }
}

/// Applies the payment service's log: money that came, money that the channel gave back in closing, and what became of
/// refunds of held money. Other refunds are told by the refund service, which knows what they are for.
#[derive(Debug)]
pub(crate) struct PaymentEvents {
    pub(crate) log: EventLog,
    pub(crate) clock: Clock,
}

impl Handler for PaymentEvents {
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
        let mut receipts = Vec::new();
        let mut reversals = Vec::new();
        let mut refunds = Vec::new();
        for received in events {
            match &received.kind {
                Kind::PaymentSucceeded(succeeded) => {
                    receipts.push(receipt(received, succeeded).map_err(poison)?);
                }
                Kind::PaymentRefunded(refunded) if refunded.reversal => {
                    reversals.push(reversal(received, refunded).map_err(poison)?);
                }
                Kind::PaymentRefunded(PaymentRefunded { refund_id, .. }) => {
                    refunds.push(refund_end(received, refund_id, Outcome::Refunded).map_err(poison)?);
                }
                Kind::PaymentRefundFailed(PaymentRefundFailed { refund_id, reason, .. }) => {
                    let outcome = Outcome::Refused(reason.clone());
                    refunds.push(refund_end(received, refund_id, outcome).map_err(poison)?);
                }
                _ => {}
            }
        }
        received::payments(tx, &self.log, self.clock.now(), &receipts, &reversals, &refunds).await
    }

    fn applied(&self) {
        self.log.wake();
    }
}

/// Applies the refund service's log: money that went back.
#[derive(Debug)]
pub(crate) struct RefundEvents {
    pub(crate) log: EventLog,
    pub(crate) clock: Clock,
}

impl Handler for RefundEvents {
    fn handles(&self, kind: &Kind) -> bool {
        matches!(kind, Kind::RefundSucceeded(_))
    }

    async fn apply(&self, tx: &mut PgConnection, events: &[Received]) -> Result<(), ApplyError> {
        let mut refunds = Vec::new();
        for received in events {
            if let Kind::RefundSucceeded(succeeded) = &received.kind {
                refunds.push(refund(received, succeeded).map_err(poison)?);
            }
        }
        refunded::refunds(tx, &self.log, self.clock.now(), &refunds).await
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

fn receipt(received: &Received, succeeded: &PaymentSucceeded) -> Result<Receipt, Malformed> {
    let time = succeeded.pay_time.as_ref().ok_or(Malformed::Time)?;
    Ok(Receipt {
        merchant_id: id("merchant_id", &received.event.merchant_id)?,
        order_id: id("order_id", &succeeded.order_id)?,
        payment_id: id::<PaymentId>("payment_id", &succeeded.payment_id)?,
        amount: amount(succeeded.amount.as_ref())?,
        pay_time: Timestamp::new(time.seconds, time.nanos).map_err(|_| Malformed::Time)?,
        traceparent: received.traceparent(),
    })
}

fn reversal(received: &Received, refunded: &PaymentRefunded) -> Result<PaidRefund, Malformed> {
    Ok(PaidRefund {
        merchant_id: id("merchant_id", &received.event.merchant_id)?,
        order_id: id("order_id", &refunded.order_id)?,
        payment_id: id("payment_id", &refunded.payment_id)?,
        refund_id: id::<RefundId>("refund_id", &refunded.refund_id)?,
        amount: amount(refunded.amount.as_ref())?,
        lines: Vec::new(),
        traceparent: received.traceparent(),
    })
}

fn refund_end(received: &Received, refund_id: &str, outcome: Outcome) -> Result<RefundEnd, Malformed> {
    Ok(RefundEnd {
        merchant_id: id("merchant_id", &received.event.merchant_id)?,
        refund_id: id("refund_id", refund_id)?,
        outcome,
        traceparent: received.traceparent(),
    })
}

fn refund(received: &Received, succeeded: &RefundSucceeded) -> Result<PaidRefund, Malformed> {
    let line =
        |line: &tael_proto::event::v1::RefundedLine| Ok((id("line_id", &line.line_id)?, line.quantity));
    Ok(PaidRefund {
        merchant_id: id("merchant_id", &received.event.merchant_id)?,
        order_id: id("order_id", &succeeded.order_id)?,
        payment_id: id("payment_id", &succeeded.payment_id)?,
        refund_id: id::<RefundId>("refund_id", &succeeded.refund_id)?,
        amount: amount(succeeded.amount.as_ref())?,
        lines: succeeded.lines.iter().map(line).collect::<Result<_, Malformed>>()?,
        traceparent: received.traceparent(),
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
