//! Ways in which books can be wrong.

#![expect(clippy::assigning_clones, reason = "speed is no matter here")]

use tael_ids::{AttemptId, DeliveryId, EventId, PaymentId, RefundId};
use tael_proto::audit::v1::DeadLetterFact;
use tael_proto::payment::v1::StatementLine;
use tael_proto::settlement::v1::DisagreementKind as Kind;

use crate::audit_facts::{AuditFacts, time};
use crate::fixture::cny;

/// One fault.
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// Makes the books wrong and returns ids that must be named.
    pub(crate) plant: fn(&mut AuditFacts) -> Vec<String>,
}

/// In all books the first order and payment are the held ones, the second those of the sale.
pub(crate) const FAULTS: &[Fault] = &[
    Fault {
        kind: Kind::OrderWithoutMoney,
        plant: |b| {
            b.orders[1].payment_id = PaymentId::new().to_string();
            vec![b.orders[1].order_id.clone(), b.orders[1].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::OrderWithoutMoney,
        plant: |b| {
            b.orders[1].total = Some(cny(99_99));
            vec![b.orders[1].order_id.clone(), b.payments[1].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::MoneyWithoutOrder,
        plant: |b| {
            b.orders[1].state = "pending_payment".to_owned();
            b.orders[1].payment_id = String::new();
            vec![b.payments[1].payment_id.clone(), b.orders[1].order_id.clone()]
        },
    },
    Fault {
        kind: Kind::MoneyWithoutOrder,
        plant: |b| {
            let held = b.held.remove(0);
            vec![held.payment_id, held.order_id]
        },
    },
    Fault {
        kind: Kind::OrderRefunded,
        plant: |b| {
            b.orders[1].refunded = Some(cny(24_99));
            vec![b.orders[1].order_id.clone()]
        },
    },
    Fault {
        kind: Kind::CountedRefund,
        plant: |b| {
            b.counted[0].amount = Some(cny(1));
            vec![b.counted[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::CountedRefund,
        plant: |b| {
            let counted = b.counted.remove(0);
            vec![counted.order_id]
        },
    },
    Fault {
        kind: Kind::HeldMoney,
        plant: |b| {
            b.held[0].amount = Some(cny(49_99));
            vec![b.held[0].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::HeldMoney,
        plant: |b| {
            b.held[0].state = "refunded".to_owned();
            vec![b.held[0].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::HeldMoney,
        plant: |b| {
            b.held[0].state = "accepted".to_owned();
            vec![b.held[0].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::PaymentAttempt,
        plant: |b| {
            b.attempts[1].state = "closed".to_owned();
            vec![b.payments[1].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::PaymentAttempt,
        plant: |b| {
            let mut second = b.attempts[1].clone();
            second.attempt_id = AttemptId::new().to_string();
            b.attempts.push(second.clone());
            vec![b.payments[1].payment_id.clone(), b.attempts[1].attempt_id.clone(), second.attempt_id]
        },
    },
    Fault {
        kind: Kind::PaymentAttempt,
        plant: |b| {
            b.payments[1].state = "closed".to_owned();
            vec![b.payments[1].payment_id.clone(), b.attempts[1].attempt_id.clone()]
        },
    },
    Fault {
        kind: Kind::PaymentRefunded,
        plant: |b| {
            b.payments[1].refunded = Some(cny(25_01));
            vec![b.payments[1].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::PaymentReserved,
        plant: |b| {
            b.payments[1].refund_reserved = Some(cny(1));
            vec![b.payments[1].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::PaymentCeiling,
        plant: |b| {
            b.payment_refunds[0].amount = Some(cny(100_01));
            vec![b.payments[1].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::PaymentCeiling,
        plant: |b| {
            b.payments[1].refund_reserved = Some(cny(80_00));
            vec![b.payments[1].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::Orphan,
        plant: |b| {
            b.attempts[0].payment_id = PaymentId::new().to_string();
            vec![b.attempts[0].attempt_id.clone(), b.attempts[0].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::Orphan,
        plant: |b| {
            b.payment_refunds[0].payment_id = PaymentId::new().to_string();
            vec![b.payment_refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::RefundWithoutMoney,
        plant: |b| {
            let refund = b.payment_refunds.remove(0);
            vec![refund.refund_id]
        },
    },
    Fault {
        kind: Kind::RefundWithoutMoney,
        plant: |b| {
            b.payment_refunds[0].state = "failed".to_owned();
            vec![b.payment_refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::MoneyWithoutRefund,
        plant: |b| {
            let refund = b.refunds.remove(0);
            vec![refund.refund_id]
        },
    },
    Fault {
        kind: Kind::MoneyWithoutRefund,
        plant: |b| {
            b.refunds[0].state = "failed".to_owned();
            vec![b.refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::RefundAmount,
        plant: |b| {
            b.refunds[0].amount = Some(cny(25_01));
            vec![b.refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::RefundCeiling,
        plant: |b| {
            b.ceilings[0].refunded = Some(cny(24_99));
            vec![b.ceilings[0].order_id.clone()]
        },
    },
    Fault {
        kind: Kind::RefundCeiling,
        plant: |b| {
            b.ceilings[0].reserved = Some(cny(1));
            vec![b.ceilings[0].order_id.clone()]
        },
    },
    Fault {
        kind: Kind::RefundCeiling,
        plant: |b| {
            b.ceilings[0].total = Some(cny(200_00));
            vec![b.ceilings[0].order_id.clone()]
        },
    },
    Fault {
        kind: Kind::RefundCeiling,
        plant: |b| {
            let ceiling = b.ceilings.remove(0);
            vec![ceiling.order_id, b.refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::PaymentNotPosted,
        plant: |b| {
            let mut payment = b.payments[1].clone();
            payment.payment_id = PaymentId::new().to_string();
            b.payments.push(payment.clone());
            vec![payment.payment_id]
        },
    },
    Fault {
        kind: Kind::RefundNotPosted,
        plant: |b| {
            let mut refund = b.payment_refunds[0].clone();
            refund.refund_id = RefundId::new().to_string();
            b.payment_refunds.push(refund.clone());
            vec![refund.refund_id]
        },
    },
    Fault {
        kind: Kind::PostedAmount,
        plant: |b| {
            b.payments[1].amount = Some(cny(100_01));
            vec![b.payments[1].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::PostedAmount,
        plant: |b| {
            b.payment_refunds[0].amount = Some(cny(25_01));
            vec![b.payment_refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::PostedWithoutCause,
        plant: |b| {
            let payment = b.payments.remove(1);
            vec![payment.payment_id]
        },
    },
    Fault {
        kind: Kind::PostedWithoutCause,
        plant: |b| {
            let refund = b.payment_refunds.remove(0);
            vec![refund.refund_id]
        },
    },
    Fault {
        kind: Kind::PostedWithoutCause,
        plant: |b| {
            let held = b.held.remove(0);
            vec![held.payment_id]
        },
    },
    Fault {
        kind: Kind::Suspense,
        plant: |b| {
            let mut held = b.held[0].clone();
            held.payment_id = PaymentId::new().to_string();
            b.held.push(held.clone());
            vec![held.payment_id]
        },
    },
    Fault {
        kind: Kind::Suspense,
        plant: |b| {
            b.held[0].state = "refunded".to_owned();
            vec![b.held[0].payment_id.clone()]
        },
    },
    Fault { kind: Kind::EventMissing, plant: |b| lose(b, "order.paid") },
    Fault { kind: Kind::EventMissing, plant: |b| lose(b, "order.payment_held") },
    Fault { kind: Kind::EventMissing, plant: |b| lose(b, "order.refunded") },
    Fault { kind: Kind::EventMissing, plant: |b| lose(b, "payment.succeeded") },
    Fault { kind: Kind::EventMissing, plant: |b| lose(b, "payment.refunded") },
    Fault { kind: Kind::EventMissing, plant: |b| lose(b, "refund.succeeded") },
    Fault {
        kind: Kind::EventMissing,
        plant: |b| {
            b.payment_refunds[0].state = "failed".to_owned();
            vec![b.payment_refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::EventMissing,
        plant: |b| {
            b.refunds[0].state = "rejected".to_owned();
            vec![b.refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::EventMissing,
        plant: |b| {
            b.held[0].state = "refunded".to_owned();
            vec![b.held[0].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::EventWrong,
        plant: |b| {
            let at = b.event("payment.succeeded");
            let (service, mut event) = b.events[at].clone();
            event.event_id = EventId::new().to_string();
            b.events.push((service, event.clone()));
            vec![event.event_id, b.events[at].1.event_id.clone(), event.payment_id]
        },
    },
    Fault {
        kind: Kind::EventWrong,
        plant: |b| {
            let at = b.event("payment.refunded");
            b.events[at].1.amount = Some(cny(25_01));
            vec![b.events[at].1.event_id.clone(), b.events[at].1.refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::EventWrong,
        plant: |b| {
            b.orders[1].state = "pending_payment".to_owned();
            let at = b.event("order.paid");
            vec![b.events[at].1.event_id.clone()]
        },
    },
    Fault {
        kind: Kind::DeadLetter,
        plant: |b| {
            let dead_letter = DeadLetterFact {
                source: "payment".to_owned(),
                event_id: EventId::new().to_string(),
                error: "there is no order".to_owned(),
            };
            b.dead_letters.push(("order", dead_letter.clone()));
            vec![dead_letter.event_id]
        },
    },
    Fault {
        kind: Kind::DeliveryMissing,
        plant: |b| {
            let delivery = b.deliveries.remove(3);
            vec![delivery.event_id, delivery.webhook_endpoint_id]
        },
    },
    Fault {
        kind: Kind::DeliveryTwice,
        plant: |b| {
            let mut delivery = b.deliveries[2].clone();
            delivery.delivery_id = DeliveryId::new().to_string();
            b.deliveries.push(delivery.clone());
            vec![delivery.delivery_id, b.deliveries[2].delivery_id.clone(), delivery.event_id]
        },
    },
    Fault {
        kind: Kind::ChannelPaymentUnknown,
        plant: |b| {
            let line = StatementLine { merchant_number: "elsewhere1".to_owned(), ..b.bill[0].clone() };
            b.bill.push(line);
            vec!["elsewhere1".to_owned(), b.accounts[0].channel_account_id.clone()]
        },
    },
    Fault {
        kind: Kind::ChannelPaymentUnknown,
        plant: |b| {
            b.attempts[1].state = "closed".to_owned();
            vec![b.attempts[1].attempt_id.clone(), b.attempts[1].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::ChannelRefundUnknown,
        plant: |b| {
            let refund = b.payment_refunds.remove(0);
            vec![refund.refund_id.replace('_', "")]
        },
    },
    Fault {
        kind: Kind::ChannelRefundUnknown,
        plant: |b| {
            b.payment_refunds[0].state = "failed".to_owned();
            vec![b.payment_refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::ChannelAmount,
        plant: |b| {
            b.bill[1].amount = Some(cny(99_99));
            vec![b.attempts[1].attempt_id.clone(), b.payments[1].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::ChannelAmount,
        plant: |b| {
            b.bill[2].amount = Some(cny(1));
            vec![b.payment_refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::ChannelMissing,
        plant: |b| {
            b.bill.remove(0);
            vec![b.attempts[0].attempt_id.clone(), b.payments[0].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::ChannelMissing,
        plant: |b| {
            b.bill.remove(2);
            vec![b.payment_refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::ChannelTwice,
        plant: |b| {
            b.bill.push(b.bill[0].clone());
            vec![b.bill[0].merchant_number.clone()]
        },
    },
    Fault {
        kind: Kind::Stuck,
        plant: |b| {
            b.attempts[0].state = "pending".to_owned();
            b.attempts[0].in_doubt = true;
            vec![b.attempts[0].attempt_id.clone()]
        },
    },
    Fault {
        kind: Kind::Stuck,
        plant: |b| {
            b.payment_refunds[0].state = "pending".to_owned();
            vec![b.payment_refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::Stuck,
        plant: |b| {
            b.refunds[0].state = "processing".to_owned();
            vec![b.refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::Stuck,
        plant: |b| {
            b.held[0].state = "refunding".to_owned();
            vec![b.held[0].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::Stuck,
        plant: |b| {
            b.deliveries[0].state = "pending".to_owned();
            b.deliveries[0].next_attempt_time = time("2026-11-21T02:59:00Z");
            vec![b.deliveries[0].delivery_id.clone()]
        },
    },
];

/// Takes the first event of a kind out of its log, and returns what it spoke of.
fn lose(books: &mut AuditFacts, kind: &str) -> Vec<String> {
    let (_, event) = books.events.remove(books.event(kind));
    vec![if event.refund_id.is_empty() { event.payment_id } else { event.refund_id }]
}
