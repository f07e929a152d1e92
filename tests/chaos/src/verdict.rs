//! The verdict: is everything that clients were promised there, once, and do all parties agree to the cent?

mod agreement;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use tael_proto::event::v1::{ListConsumersRequest, ListDeadLettersRequest};
use tael_proto::order::v1::{Order, OrderState};
use tael_proto::payment::v1::Payment;
use tael_proto::settlement::v1::CheckLedgerRequest;
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
            verdict.shop(&books, &entries, &receiver.events(&shop.merchant_id));
        }
        verdict.sums(caller).await?;
        verdict.logs(caller).await?;
        Ok(verdict)
    }

    /// Looks at one shop.
    fn shop(
        &mut self,
        books: &Books,
        entries: &[&Entry],
        received: &BTreeMap<String, crate::receiver::Event>,
    ) {
        self.promises(books, entries);
        self.payments(books);
        self.orders(books);
        self.refunds(books);
        self.ledger(books);
        self.webhooks(books, received);
        for alert in &books.integrity_alerts {
            self.wrong(format!(
                "integrity alert {} of {}: {}",
                alert.integrity_alert_id, alert.payment_id, alert.field
            ));
        }
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
                    order.unapplied_payments.iter().any(|held| held.refund_id == refund.refund_id)
                });
                self.expect(late || promised.contains(refund.refund_id.as_str()), || {
                    format!("refund {} of {} was promised to nobody", refund.refund_id, refund.order_id)
                });
            }
        }
    }

    /// The whole ledger adds up.
    async fn sums(&mut self, caller: &Caller) -> Result<(), Error> {
        let ledger = caller
            .ask("CheckLedger", None, CheckLedgerRequest {}, |mut c, r| async move {
                c.ledger.check_ledger(r).await
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

    /// Every consumer has read every log, and no event became a dead letter. Not every service has a log or reads one.
    async fn logs(&mut self, caller: &Caller) -> Result<(), Error> {
        let behind = events_behind(caller).await?;
        if behind > 0 {
            self.unsettled(format!("consumers are {behind} events behind"));
        }
        for (service, client) in caller.set_aside() {
            let answer = caller
                .ask("ListDeadLetters", None, ListDeadLettersRequest::default(), |_, r| {
                    let mut client = client.clone();
                    async move { client.list_dead_letters(r).await }
                })
                .await;
            match answer {
                Ok(answer) => {
                    for event in answer.dead_letters {
                        self.wrong(format!(
                            "{service} set an event of {} aside: {}",
                            event.source, event.error
                        ));
                    }
                }
                Err(status) if status.code() == Code::Unimplemented => {}
                Err(status) => {
                    return Err(format!("{service}: ListDeadLetters: {}", words(&status)).into());
                }
            }
        }
        Ok(())
    }
}

/// How many events consumers have not applied yet, of all logs together. Services without a log are passed
/// over.
pub async fn events_behind(caller: &Caller) -> Result<u64, Error> {
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
            Err(status) if status.code() == Code::Unimplemented => {}
            Err(status) => return Err(format!("{service}: ListConsumers: {}", words(&status)).into()),
        }
    }
    Ok(behind)
}

fn minor(money: Option<&Money>) -> i64 {
    money.map_or(0, |money| money.minor)
}
