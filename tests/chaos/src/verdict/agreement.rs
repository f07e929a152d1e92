//! Do the books of one shop agree, of all services and the channel?

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;
use tael_proto::notification::v1::DeliveryState;
use tael_proto::order::v1::{OrderState, UnappliedPaymentState};
use tael_proto::payment::v1::{Payment, PaymentState};
use tael_proto::refund::v1::RefundState;
use tael_proto::settlement::v1::{AccountKind, TransferKind};
use tael_sandbox::control::MovementKind;

use super::{Verdict, minor};
use crate::books::Books;
use crate::receiver::Event;

impl Verdict {
    /// Every payment is in a state that lasts, and the channel's own record agrees with it.
    pub(super) fn payments(&mut self, books: &Books) {
        let mut known = BTreeSet::new();
        for payment in &books.payments {
            let id = &payment.payment_id;
            self.count("payments", 1);
            let in_doubt = payment.attempts.iter().any(|attempt| attempt.in_doubt);
            if payment.state() == PaymentState::Created || in_doubt {
                self.unsettled(format!("payment {id} is {:?}, in doubt: {in_doubt}", payment.state()));
            }
            if minor(payment.refund_reserved.as_ref()) != 0 {
                self.unsettled(format!("payment {id} has a refund under way"));
            }
            let (mut came, mut times, mut went) = (0, 0, 0);
            for attempt in &payment.attempts {
                let number = attempt.attempt_id.replace('_', "");
                for movement in books.movements.get(&number).into_iter().flatten() {
                    match movement.kind {
                        MovementKind::Payment => {
                            times += 1;
                            came += movement.amount_minor;
                        }
                        MovementKind::Refund => went -= movement.amount_minor,
                        MovementKind::Fee | MovementKind::FeeReturn => {}
                    }
                }
                known.insert(number);
            }
            self.expect(times <= 1, || format!("payment {id}: the payer was charged {times} times"));
            let (took, gave) = match payment.state() {
                PaymentState::Succeeded => {
                    self.count("payments succeeded", 1);
                    (minor(payment.amount.as_ref()), minor(payment.refunded.as_ref()))
                }
                // Money that came and was given back by the channel in closing is no money.
                _ => (came, came),
            };
            self.expect(came == took && went == gave, || {
                format!(
                    "payment {id} is {:?} with {took} taken and {gave} refunded; the channel took {came} and gave \
                     back {went}",
                    payment.state()
                )
            });
        }
        for number in books.movements.keys() {
            self.expect(known.contains(number), || {
                format!("the channel moved money for {number}, unknown here")
            });
        }
    }

    /// Every order has ended, and what it says of its money is what its payments say.
    pub(super) fn orders(&mut self, books: &Books) {
        let mut by_order: HashMap<&str, Vec<&Payment>> = HashMap::new();
        for payment in &books.payments {
            by_order.entry(payment.order_id.as_str()).or_default().push(payment);
        }
        let mut references = BTreeSet::new();
        for order in &books.orders {
            let id = &order.order_id;
            self.count("orders", 1);
            self.expect(references.insert(order.merchant_reference.as_str()), || {
                format!("order {id}: a second one for {}", order.merchant_reference)
            });
            let payments = by_order.get(id.as_str()).map_or(&[][..], Vec::as_slice);
            match order.state() {
                OrderState::Paid => {
                    self.count("orders paid", 1);
                    let total = order.price.as_ref().map_or(0, |price| minor(price.total.as_ref()));
                    let payer = payments.iter().find(|payment| payment.payment_id == order.payment_id);
                    self.expect(
                        payer.is_some_and(|payment| {
                            payment.state() == PaymentState::Succeeded
                                && minor(payment.amount.as_ref()) == total
                                && payment.refunded == order.refunded
                        }),
                        || format!("order {id} of {total} and its payment differ: {order:?} {payer:?}"),
                    );
                }
                OrderState::Cancelled | OrderState::Expired => {}
                OrderState::PendingPayment | OrderState::Unspecified => {
                    self.unsettled(format!("order {id} is pending"));
                }
            }
            for payment in payments {
                let held = order.unapplied_payments.iter().find(|held| held.payment_id == payment.payment_id);
                let pays = order.state() == OrderState::Paid && order.payment_id == payment.payment_id;
                let reversed = minor(payment.refunded.as_ref()) == minor(payment.amount.as_ref());
                if payment.state() == PaymentState::Succeeded && !pays {
                    self.count("late payments", 1);
                    self.expect(held.is_some() || reversed, || {
                        format!(
                            "payment {} came for order {id}, which knows nothing of it",
                            payment.payment_id
                        )
                    });
                }
                if held.is_some_and(|held| held.state() == UnappliedPaymentState::Refunding) {
                    self.unsettled(format!("order {id} gives money back"));
                }
            }
        }
    }

    /// Every refund has ended.
    pub(super) fn refunds(&mut self, books: &Books) {
        let mut by_payment = BTreeMap::<&str, i64>::new();
        for refund in &books.refunds {
            self.count("refunds", 1);
            match refund.state() {
                RefundState::Succeeded => {
                    *by_payment.entry(refund.payment_id.as_str()).or_default() +=
                        minor(refund.amount.as_ref());
                }
                RefundState::Processing | RefundState::Unspecified => {
                    self.unsettled(format!("refund {} is being executed", refund.refund_id));
                }
                RefundState::PendingApproval | RefundState::Failed | RefundState::Rejected => {}
            }
            let number = refund.refund_id.replace('_', "");
            let times = books
                .movements
                .values()
                .flatten()
                .filter(|m| m.kind == MovementKind::Refund && m.refund_no.as_deref() == Some(&number))
                .count();
            let wanted = usize::from(refund.state() == RefundState::Succeeded);
            self.expect(times == wanted, || {
                format!(
                    "refund {} is {:?}; the channel did it {times} times",
                    refund.refund_id,
                    refund.state()
                )
            });
        }
        for payment in &books.payments {
            let asked = by_payment.get(payment.payment_id.as_str()).copied().unwrap_or(0);
            let refunded = minor(payment.refunded.as_ref());
            let reversed = asked == 0 && refunded == minor(payment.amount.as_ref());
            self.expect(asked == refunded || reversed, || {
                format!("payment {} has {refunded} refunded, its refunds {asked}", payment.payment_id)
            });
        }
    }

    /// Everything that moved is posted, once, and the channel owes what its own record says.
    pub(super) fn ledger(&mut self, books: &Books) {
        let mut posted = BTreeMap::<(&str, bool), i64>::new();
        for transfer in &books.transfers {
            match transfer.kind() {
                TransferKind::Payment => *posted.entry((&transfer.payment_id, true)).or_default() += 1,
                TransferKind::Refund => *posted.entry((&transfer.payment_id, false)).or_default() += 1,
                TransferKind::Batch
                | TransferKind::Hold
                | TransferKind::Release
                | TransferKind::Unspecified => {}
            }
        }
        for payment in &books.payments {
            let id = payment.payment_id.as_str();
            let movements = payment
                .attempts
                .iter()
                .filter_map(|attempt| books.movements.get(&attempt.attempt_id.replace('_', "")))
                .flatten();
            let (mut charges, mut returns) = (0, 0);
            for movement in movements {
                charges += i64::from(movement.kind == MovementKind::Payment);
                returns += i64::from(movement.kind == MovementKind::Refund);
            }
            let payments = posted.get(&(id, true)).copied().unwrap_or(0);
            let refunds = posted.get(&(id, false)).copied().unwrap_or(0);
            self.expect((payments, refunds) == (charges, returns), || {
                format!(
                    "payment {id}: the ledger has {payments} payments and {refunds} refunds, the channel {charges} and \
                     {returns}"
                )
            });
        }
        let owed: i64 = books.movements.values().flatten().map(|movement| movement.amount_minor).sum();
        let receivable: i64 = books
            .accounts
            .iter()
            .filter(|account| account.kind() == AccountKind::ChannelReceivable)
            .map(|account| minor(account.debits.as_ref()) - minor(account.credits.as_ref()))
            .sum();
        self.expect(owed == receivable, || {
            format!("the channel's account has {owed} fen, the ledger's receivable {receivable}")
        });
        self.count("fen at the channel", owed);
    }

    /// Every event was told, with one body.
    pub(super) fn webhooks(&mut self, books: &Books, received: &BTreeMap<String, Event>) {
        let mut told = BTreeMap::<(String, String), u64>::new();
        let mut known = BTreeSet::new();
        for delivery in &books.deliveries {
            let (id, kind) = (&delivery.event_id, &delivery.event_type);
            known.insert(id.as_str());
            self.count("webhooks", 1);
            match delivery.state() {
                DeliveryState::Pending => {
                    self.unsettled(format!("delivery {} of {kind} is pending", delivery.delivery_id));
                    continue;
                }
                DeliveryState::Succeeded => {}
                state => self.wrong(format!("delivery {} of {kind} is {state:?}", delivery.delivery_id)),
            }
            let body: Value = serde_json::from_str(&delivery.body).unwrap_or_default();
            for key in ["payment_id", "refund_id", "order_id"] {
                if let Some(about) = body["data"][key].as_str() {
                    *told.entry((kind.clone(), about.to_owned())).or_default() += 1;
                }
            }
            match received.get(id) {
                None => self.wrong(format!("event {id} ({kind}) is said to be delivered and never came")),
                Some(event) => {
                    self.count("webhooks received more than once", i64::from(event.count > 1));
                    self.expect(!event.differed && event.body == delivery.body, || {
                        format!("event {id} ({kind}) came with another body")
                    });
                }
            }
        }
        for id in received.keys() {
            self.expect(known.contains(id.as_str()), || {
                format!("event {id} came and no delivery knows of it")
            });
        }
        let mut once = |kind: &str, about: &str, times: u64| {
            let found = told.get(&(kind.to_owned(), about.to_owned())).copied().unwrap_or(0);
            if found != times {
                self.violations.push(format!("{kind} of {about} was told in {found} events, not {times}"));
            }
        };
        for order in &books.orders {
            once("order.created", &order.order_id, 1);
            once("order.paid", &order.order_id, u64::from(order.state() == OrderState::Paid));
        }
        for payment in &books.payments {
            once("payment.created", &payment.payment_id, 1);
            if payment.state() == PaymentState::Succeeded {
                once("payment.succeeded", &payment.payment_id, 1);
            }
        }
        for refund in &books.refunds {
            let succeeded = refund.state() == RefundState::Succeeded;
            once("refund.succeeded", &refund.refund_id, u64::from(succeeded));
        }
    }
}
