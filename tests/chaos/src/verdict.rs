//! The verdict: is everything that clients were promised there, once, and do all parties agree to the cent?

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use serde_json::Value;
use tael_proto::event::v1::{ListConsumersRequest, ListSetAsideEventsRequest};
use tael_proto::notification::v1::DeliveryState;
use tael_proto::order::v1::{HeldState, Order, OrderState};
use tael_proto::payment::v1::{Payment, PaymentState};
use tael_proto::refund::v1::RefundState;
use tael_proto::settlement::v1::{AccountKind, CheckLedgerRequest, TransferKind};
use tael_proto::r#type::v1::Money;
use tael_sandbox::control::MovementKind;
use tonic::Code;

use crate::Error;
use crate::books::Books;
use crate::caller::{Caller, words};
use crate::load::Book;
use crate::load::book::Entry;
use crate::receiver::Receiver;
use crate::shop::Shop;

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verdict {
    /// What still moves: not wrong, unless it stays.
    pub unsettled: Vec<String>,
    /// What is wrong, unless it is only not there yet.
    pub violations: Vec<String>,
    /// What was counted on the way.
    pub counts: BTreeMap<&'static str, i64>,
}

impl Verdict {
    /// Whether nothing moves and nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.unsettled.is_empty() && self.violations.is_empty()
    }

    fn unsettled(&mut self, what: String) {
        self.unsettled.push(what);
    }

    fn wrong(&mut self, what: String) {
        self.violations.push(what);
    }

    fn expect(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.wrong(what());
        }
    }

    fn count(&mut self, what: &'static str, count: i64) {
        *self.counts.entry(what).or_default() += count;
    }

    /// Looks at everything as it is now.
    pub async fn look(
        caller: &Caller,
        shops: &[Shop],
        book: &Book,
        receiver: &Receiver,
    ) -> Result<Self, Error> {
        let mut verdict = Self::default();
        let entries = book.entries();
        for entry in entries.iter().filter(|entry| !entry.ended) {
            verdict.unsettled(format!("journey {} is at {:?}", entry.plan.number, entry.step));
        }
        for (number, shop) in shops.iter().enumerate() {
            let books = Books::read(caller, shop).await?;
            let entries: Vec<&Entry> = entries.iter().filter(|entry| entry.plan.shop == number).collect();
            verdict.promises(&books, &entries);
            verdict.payments(&books);
            verdict.orders(&books);
            verdict.refunds(&books);
            verdict.ledger(&books);
            verdict.webhooks(&books, &receiver.events(&shop.merchant_id));
            for alarm in &books.alarms {
                verdict.wrong(format!("alarm {} of {}: {}", alarm.alarm_id, alarm.payment_id, alarm.field));
            }
        }
        verdict.sums(caller).await?;
        verdict.logs(caller).await?;
        Ok(verdict)
    }

    /// Everything that was acknowledged is there as it was acknowledged, and nothing was made twice.
    fn promises(&mut self, books: &Books, entries: &[&Entry]) {
        let orders: HashMap<&str, &Order> =
            books.orders.iter().map(|order| (order.order_id.as_str(), order)).collect();
        let payments: HashMap<&str, &Payment> =
            books.payments.iter().map(|payment| (payment.payment_id.as_str(), payment)).collect();
        let refunds: HashMap<&str, _> =
            books.refunds.iter().map(|refund| (refund.refund_id.as_str(), refund)).collect();
        let mut promised = BTreeSet::new();
        for entry in entries {
            let number = entry.plan.number;
            self.count("journeys", 1);
            let Some(promise) = &entry.order else { continue };
            promised.insert(promise.id.as_str());
            let Some(order) = orders.get(promise.id.as_str()) else {
                self.wrong(format!("journey {number}: order {} is lost", promise.id));
                continue;
            };
            let total = order.price.as_ref().map_or(0, |price| minor(price.total.as_ref()));
            self.expect(total == promise.minor, || {
                format!("order {} was promised at {} and costs {total}", promise.id, promise.minor)
            });
            if let Some(end) = entry.order_end {
                let state = match order.state() {
                    OrderState::Paid => "paid",
                    OrderState::Cancelled => "cancelled",
                    OrderState::Expired => "expired",
                    OrderState::PendingPayment | OrderState::Unspecified => "pending",
                };
                // A merchant's policy may let a given-up order take late money after all.
                self.expect(state == end || state == "paid", || {
                    format!("order {} was promised {end} and is {state}", promise.id)
                });
            }
            for promise in &entry.payments {
                let found = payments.get(promise.id.as_str());
                self.expect(found.is_some_and(|p| minor(p.amount.as_ref()) == promise.minor), || {
                    format!("journey {number}: payment {} of {} is lost", promise.id, promise.minor)
                });
            }
            for promise in &entry.refunds {
                let found = refunds.get(promise.id.as_str());
                self.expect(found.is_some_and(|r| minor(r.amount.as_ref()) == promise.minor), || {
                    format!("journey {number}: refund {} of {} is lost", promise.id, promise.minor)
                });
            }
            for number in &entry.paid_numbers {
                let paid = books.movements.get(number).into_iter().flatten();
                let times = paid.filter(|movement| movement.kind == MovementKind::Payment).count();
                self.expect(times == 1, || format!("the channel charged {number} {times} times"));
            }
            for voucher in &order.vouchers {
                let redeemed: u32 = entry
                    .redemptions
                    .iter()
                    .filter(|redemption| redemption.voucher_id == voucher.voucher_id)
                    .map(|redemption| redemption.count)
                    .sum();
                self.expect(voucher.redeemed == redeemed && redeemed <= voucher.uses, || {
                    format!(
                        "voucher {}: {redeemed} of {} uses were promised and {} are redeemed",
                        voucher.voucher_id, voucher.uses, voucher.redeemed
                    )
                });
                self.count("redemptions", i64::from(redeemed > 0));
            }
        }
        // Every creating call was repeated until it was answered, so that what is there and was not promised came
        // from a key that had two effects. A journey that is still under way may not have its answer yet.
        if entries.iter().all(|entry| entry.ended) {
            for order in &books.orders {
                self.expect(promised.contains(order.order_id.as_str()), || {
                    format!("order {} ({}) was promised to nobody", order.order_id, order.merchant_reference)
                });
            }
            let promised: BTreeSet<&str> =
                entries.iter().flat_map(|e| &e.payments).map(|promise| promise.id.as_str()).collect();
            for payment in &books.payments {
                self.expect(promised.contains(payment.payment_id.as_str()), || {
                    format!("payment {} of {} was promised to nobody", payment.payment_id, payment.order_id)
                });
            }
            let promised: BTreeSet<&str> =
                entries.iter().flat_map(|e| &e.refunds).map(|promise| promise.id.as_str()).collect();
            for refund in &books.refunds {
                // A refund that gives back late money is made by the platform itself.
                let late = orders.get(refund.order_id.as_str()).is_some_and(|order| {
                    order.held_payments.iter().any(|held| held.refund_id == refund.refund_id)
                });
                self.expect(late || promised.contains(refund.refund_id.as_str()), || {
                    format!("refund {} of {} was promised to nobody", refund.refund_id, refund.order_id)
                });
            }
        }
    }

    /// Every payment is in a state that lasts, and the channel's own record agrees with it.
    fn payments(&mut self, books: &Books) {
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
                            came += movement.amount_fen;
                        }
                        MovementKind::Refund => went -= movement.amount_fen,
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
    fn orders(&mut self, books: &Books) {
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
                let held = order.held_payments.iter().find(|held| held.payment_id == payment.payment_id);
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
                if held.is_some_and(|held| held.state() == HeldState::Refunding) {
                    self.unsettled(format!("order {id} gives money back"));
                }
            }
        }
    }

    /// Every refund has ended.
    fn refunds(&mut self, books: &Books) {
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
                .filter(|m| m.kind == MovementKind::Refund && m.out_request_no.as_deref() == Some(&number))
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
    fn ledger(&mut self, books: &Books) {
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
        let owed: i64 = books.movements.values().flatten().map(|movement| movement.amount_fen).sum();
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
    fn webhooks(&mut self, books: &Books, received: &BTreeMap<String, crate::receiver::Event>) {
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

    /// The whole ledger adds up.
    async fn sums(&mut self, caller: &Caller) -> Result<(), Error> {
        let ledger = caller
            .ask("CheckLedger", None, CheckLedgerRequest {}, |mut c, r| async move {
                c.settlement.check_ledger(r).await
            })
            .await?;
        for sum in &ledger.sums {
            self.expect(sum.debits == sum.credits, || format!("debits are not credits: {sum:?}"));
        }
        self.count("transfers", i64::try_from(ledger.transfer_count)?);
        for id in ledger.unbalanced_transfer_ids.iter().chain(&ledger.wrong_account_ids) {
            self.wrong(format!("the ledger does not add up at {id}"));
        }
        Ok(())
    }

    /// Every consumer has read every log, and no event was set aside. Of a build that does not serve these lists yet
    /// nothing is said; what its consumers did not do is seen elsewhere.
    async fn logs(&mut self, caller: &Caller) -> Result<(), Error> {
        if let Some(behind @ 1..) = events_behind(caller).await? {
            self.unsettled(format!("consumers are {behind} events behind"));
        }
        for (service, client) in caller.set_aside() {
            let answer = caller
                .ask("ListSetAsideEvents", None, ListSetAsideEventsRequest::default(), |_, r| {
                    let mut client = client.clone();
                    async move { client.list_set_aside_events(r).await }
                })
                .await;
            match answer {
                Ok(answer) => {
                    for event in answer.events {
                        self.wrong(format!(
                            "{service} set an event of {} aside: {}",
                            event.source, event.error
                        ));
                    }
                }
                Err(status) if status.code() == Code::Unimplemented => {}
                Err(status) => {
                    return Err(format!("{service}: ListSetAsideEvents: {}", words(&status)).into());
                }
            }
        }
        Ok(())
    }
}

/// How many events consumers have not applied yet, of all logs together; `None` of a build that does not say.
pub async fn events_behind(caller: &Caller) -> Result<Option<u64>, Error> {
    let mut behind = 0;
    for (service, client) in caller.logs() {
        let answer = caller
            .ask("ListConsumers", None, ListConsumersRequest {}, |_, r| {
                let mut client = client.clone();
                async move { client.list_consumers(r).await }
            })
            .await;
        match answer {
            Ok(answer) => behind += answer.consumers.iter().map(|consumer| consumer.lag).sum::<u64>(),
            Err(status) if status.code() == Code::Unimplemented => return Ok(None),
            Err(status) => return Err(format!("{service}: ListConsumers: {}", words(&status)).into()),
        }
    }
    Ok(Some(behind))
}

fn minor(money: Option<&Money>) -> i64 {
    money.map_or(0, |money| money.minor)
}
