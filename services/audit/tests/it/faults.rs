//! Ways in which books can be wrong.

#![expect(clippy::assigning_clones, reason = "speed is no matter here")]

use tael_ids::{AttemptId, DeliveryId, EventId, PaymentId, RefundId, TransferId};
use tael_proto::audit::v1::DeadLetterFact;
use tael_proto::audit::v1::DisagreementKind as Kind;
use tael_proto::payment::v1::{StatementLine, StatementLineKind};

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
            let line = StatementLine { merchant_number: "elsewhere1".to_owned(), ..b.statement[0].clone() };
            b.statement.push(line);
            vec!["elsewhere1".to_owned(), "alipay:2088000000000001".to_owned()]
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
            b.statement[1].amount = Some(cny(99_99));
            vec![b.attempts[1].attempt_id.clone(), b.payments[1].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::ChannelAmount,
        plant: |b| {
            b.statement[2].amount = Some(cny(1));
            vec![b.payment_refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::ChannelMissing,
        plant: |b| {
            b.statement.remove(0);
            vec![b.attempts[0].attempt_id.clone(), b.payments[0].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::ChannelMissing,
        plant: |b| {
            b.statement.remove(2);
            vec![b.payment_refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::ChannelTwice,
        plant: |b| {
            b.statement.push(b.statement[0].clone());
            vec![b.statement[0].merchant_number.clone()]
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
    Fault {
        kind: Kind::PostedTwice,
        plant: |b| {
            let mut second = b.transfers[at(b, "payment", 1)].clone();
            second.transfer_id = TransferId::new().to_string();
            second.event_id = EventId::new().to_string();
            b.transfers.push(second.clone());
            vec![second.payment_id, second.transfer_id]
        },
    },
    Fault {
        kind: Kind::PostedTwice,
        plant: |b| {
            let (one, other) = (at(b, "payment", 0), at(b, "payment", 1));
            b.transfers[other].event_id = b.transfers[one].event_id.clone();
            vec![b.transfers[one].event_id.clone()]
        },
    },
    Fault {
        kind: Kind::PostedWithoutCause,
        plant: |b| {
            let n = at(b, "payment", 0);
            b.transfers[n].payment_id = PaymentId::new().to_string();
            vec![b.transfers[n].payment_id.clone(), b.transfers[n].transfer_id.clone()]
        },
    },
    Fault {
        kind: Kind::PaymentNotPosted,
        plant: |b| {
            let n = at(b, "payment", 0);
            vec![b.transfers.remove(n).payment_id]
        },
    },
    Fault {
        kind: Kind::RefundNotPosted,
        plant: |b| {
            let n = at(b, "refund", 0);
            vec![b.transfers.remove(n).refund_id]
        },
    },
    Fault {
        kind: Kind::PostedAmount,
        plant: |b| {
            let n = at(b, "refund", 0);
            b.transfers[n].gross = Some(cny(25_01));
            vec![b.payment_refunds[0].refund_id.clone()]
        },
    },
    Fault {
        kind: Kind::Fee,
        plant: |b| {
            let n = at(b, "payment", 1);
            b.transfers[n].fee = Some(cny(59));
            vec![b.payments[1].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::Fee,
        plant: |b| {
            let n = at(b, "payment", 1);
            b.transfers[n].channel_fee = Some(cny(39));
            vec![b.payments[1].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::Fee,
        plant: |b| {
            let n = at(b, "refund", 0);
            b.transfers[n].fee = Some(cny(14));
            vec![b.payments[1].payment_id.clone()]
        },
    },
    Fault {
        kind: Kind::Unbalanced,
        plant: |b| {
            b.transfers[0].debits_minor += 1;
            vec![b.transfers[0].transfer_id.clone()]
        },
    },
    Fault {
        kind: Kind::Unbalanced,
        plant: |b| {
            b.transfers[0].foreign_entries = 1;
            vec![b.transfers[0].transfer_id.clone()]
        },
    },
    Fault {
        kind: Kind::AccountSum,
        plant: |b| {
            b.ledger_accounts[0].debits = Some(cny(174_01));
            vec![b.ledger_accounts[0].account_id.clone()]
        },
    },
    Fault {
        kind: Kind::StatementLineUnreadable,
        plant: |b| {
            b.statement.push(StatementLine {
                line: 9,
                kind: StatementLineKind::Unreadable.into(),
                problem: "column 12 is no amount".to_owned(),
                ..StatementLine::default()
            });
            vec!["line 9".to_owned()]
        },
    },
];

/// The place of the transfer of a kind with this number among those of its kind.
fn at(books: &AuditFacts, kind: &str, number: usize) -> usize {
    let of_kind = books.transfers.iter().enumerate().filter(|(_, transfer)| transfer.kind == kind);
    of_kind.map(|(place, _)| place).nth(number).unwrap()
}

/// Takes the first event of a kind out of its log, and returns what it spoke of.
fn lose(books: &mut AuditFacts, kind: &str) -> Vec<String> {
    let (_, event) = books.events.remove(books.event(kind));
    vec![if event.refund_id.is_empty() { event.payment_id } else { event.refund_id }]
}
