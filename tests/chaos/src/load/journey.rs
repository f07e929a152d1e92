//! One buyer's journey, from the order to its end, whatever goes wrong meanwhile.

mod steps;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tael_proto::order::v1::{GetOrderRequest, Order, OrderState};
use tael_proto::payment::v1::{GetPaymentRequest, Payment, PaymentState};
use tael_proto::refund::v1::Refund;
use tael_proto::r#type::v1::Money;
use tokio::time::Instant;
use tonic::Status;

use super::book::{Book, Entry};
use super::plan::{Kind, Plan};
use crate::caller::{Caller, reason, words};
use crate::shop::Shop;

/// How often a state is looked at while it is waited for.
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_LONGEST: Duration = Duration::from_millis(500);
/// How long an order that is left to expire has: the shortest there is.
const EXPIRE_AFTER: Duration = Duration::from_mins(1);

/// Why a journey does not go on. What is to be told was told to the book.
struct Stop;

pub(super) struct Journey {
    caller: Caller,
    shop: Shop,
    book: Arc<Book>,
    entry: Arc<Mutex<Entry>>,
    plan: Plan,
    run: String,
}

impl Journey {
    pub(super) fn new(caller: Caller, shop: Shop, book: Arc<Book>, seed: u64, plan: Plan) -> Self {
        let entry = book.begin(plan.clone());
        Self { caller, shop, book, entry, plan, run: format!("chaos-{seed}") }
    }

    /// Plays to the end. A journey that does not end is seen in the book.
    pub(super) async fn play(self) {
        let result = match self.plan.kind {
            Kind::Sell => self.sell().await,
            Kind::CancelBare => self.cancel_bare().await,
            Kind::CancelUnpaid => self.cancel_unpaid().await,
            Kind::CancelRace => self.cancel_race().await,
            Kind::LatePayer => self.late_payer().await,
            Kind::Expire => self.expire().await,
        };
        if let Ok(()) = result {
            self.note(|entry| {
                entry.step = "end";
                entry.ended = true;
            });
        }
    }

    async fn sell(&self) -> Result<(), Stop> {
        let order = self.create_order(None).await?;
        let payment = self.create_payment(&order).await?;
        self.pay(&payment).await?;
        let order = self.order_until("wait for paid", &order, |o| o.state() == OrderState::Paid).await?;
        self.note(|entry| entry.order_end = Some("paid"));
        if self.plan.redeem {
            for (number, voucher) in order.vouchers.iter().enumerate() {
                self.redeem(number, voucher).await?;
            }
        }
        let mut refunded = 0;
        for (number, refund) in self.plan.refunds.iter().enumerate() {
            refunded += self.refund(number, *refund, &order, refunded).await?;
        }
        self.order_until("wait for refunded", &order, |o| minor(o.refunded.as_ref()) == refunded).await?;
        Ok(())
    }

    async fn cancel_bare(&self) -> Result<(), Stop> {
        let order = self.create_order(None).await?;
        match self.cancel(&order).await {
            Ok(()) => Ok(()),
            Err(status) => Err(self.found("CancelOrder without a payment", &status)),
        }
    }

    async fn cancel_unpaid(&self) -> Result<(), Stop> {
        let order = self.create_order(None).await?;
        let payment = self.create_payment(&order).await?;
        if let Err(status) = self.cancel(&order).await {
            return Err(self.found("CancelOrder without a payer", &status));
        }
        self.payment_until("wait for closed", &payment.payment_id, |p| p.state() == PaymentState::Closed)
            .await?;
        Ok(())
    }

    async fn cancel_race(&self) -> Result<(), Stop> {
        let order = self.create_order(None).await?;
        let payment = self.create_payment(&order).await?;
        let (paid, cancelled) = tokio::join!(self.pay(&payment), self.cancel(&order));
        let paid = paid?;
        match cancelled {
            Ok(()) => {}
            Err(status) if reason(&status).as_deref() == Some("ORDER_STATE") => {
                self.order_until("wait for paid", &order, |o| o.state() == OrderState::Paid).await?;
                self.note(|entry| entry.order_end = Some("paid"));
                if !paid {
                    self.book.find(format!(
                        "journey {}: order {} was paid and its payer was refused",
                        self.plan.number, order.order_id
                    ));
                }
            }
            Err(status) => return Err(self.found("CancelOrder against a payer", &status)),
        }
        Ok(())
    }

    async fn late_payer(&self) -> Result<(), Stop> {
        let order = self.create_order(None).await?;
        let payment = self.create_payment(&order).await?;
        if let Err(status) = self.cancel(&order).await {
            return Err(self.found("CancelOrder before a payer", &status));
        }
        if self.pay(&payment).await? {
            // What becomes of it is the merchant's policy; that it is known is the platform's duty.
            self.payment_until("wait for late money", &payment.payment_id, |p| {
                p.state() == PaymentState::Succeeded
            })
            .await?;
        }
        Ok(())
    }

    async fn expire(&self) -> Result<(), Stop> {
        let begin = Instant::now();
        let order = self.create_order(Some(EXPIRE_AFTER)).await?;
        let acknowledged = Instant::now();
        let payment = if self.plan.late_payer { Some(self.create_payment(&order).await?) } else { None };
        if let Some(payment) = &payment {
            // The payer comes in the very seconds in which the order is given up.
            let spread = Duration::from_millis(self.plan.number % 8 * 500);
            tokio::time::sleep_until(acknowledged + EXPIRE_AFTER + spread).await;
            self.pay(payment).await?;
        }
        let order = self
            .order_until("wait for expiry", &order, |o| {
                matches!(o.state(), OrderState::Expired | OrderState::Paid)
            })
            .await?;
        if order.state() == OrderState::Paid {
            self.note(|entry| entry.order_end = Some("paid"));
        } else {
            self.note(|entry| entry.order_end = Some("expired"));
            if begin.elapsed() < EXPIRE_AFTER {
                self.book.find(format!(
                    "journey {}: order {} expired {:?} after it was asked for",
                    self.plan.number,
                    order.order_id,
                    begin.elapsed()
                ));
            }
        }
        Ok(())
    }

    async fn order_until(
        &self,
        step: &'static str,
        order: &Order,
        wanted: impl Fn(&Order) -> bool,
    ) -> Result<Order, Stop> {
        let get = GetOrderRequest {
            merchant_id: self.shop.merchant_id.clone(),
            order_id: order.order_id.clone(),
            ..Default::default()
        };
        self.until(
            step,
            get,
            |mut c, r| async move { c.order.get_order(r).await },
            |answer| answer.order.filter(&wanted),
        )
        .await
    }

    async fn payment_until(
        &self,
        step: &'static str,
        payment_id: &str,
        wanted: impl Fn(&Payment) -> bool,
    ) -> Result<Payment, Stop> {
        let get = GetPaymentRequest {
            merchant_id: self.shop.merchant_id.clone(),
            payment_id: payment_id.to_owned(),
        };
        self.until(
            step,
            get,
            |mut c, r| async move { c.payment.get_payment(r).await },
            |answer| answer.payment.filter(&wanted),
        )
        .await
    }

    /// Looks at something until it is as wanted. That it stays otherwise for ever is seen in the book.
    async fn until<Q, A, T, F>(
        &self,
        step: &'static str,
        get: Q,
        call: impl Fn(Caller, tonic::Request<Q>) -> F + Copy,
        wanted: impl Fn(A) -> Option<T>,
    ) -> Result<T, Stop>
    where
        Q: Clone,
        F: Future<Output = Result<tonic::Response<A>, Status>>,
    {
        self.step(step);
        let mut pause = LOOK_FIRST;
        loop {
            match self.caller.ask("Get", None, get.clone(), call).await {
                Ok(answer) => {
                    if let Some(found) = wanted(answer) {
                        return Ok(found);
                    }
                }
                Err(status) => return Err(self.found(step, &status)),
            }
            if self.caller.calls.is_given_up() {
                return Err(Stop);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_LONGEST);
        }
    }

    /// Makes a creating call, or two of the same at once, which must have one answer.
    async fn once_or_twice<A, T, F>(
        &self,
        name: &'static str,
        ask: impl Fn() -> F,
        part: impl Fn(A) -> Option<T>,
    ) -> Result<T, Stop>
    where
        F: Future<Output = Result<A, Status>>,
        T: Identified,
    {
        let (first, second) = if self.plan.double_click {
            let (first, second) = tokio::join!(ask(), ask());
            (first, Some(second))
        } else {
            (ask().await, None)
        };
        let read = |answer: Result<A, Status>| match answer {
            Ok(answer) => part(answer).ok_or_else(|| {
                self.book.find(format!("journey {}: {name} has no content", self.plan.number));
                Stop
            }),
            Err(status) => Err(self.found(name, &status)),
        };
        let first = read(first)?;
        if let Some(second) = second {
            let second = read(second)?;
            if first.id() != second.id() {
                self.book.find(format!(
                    "journey {}: {name} with one key has made {} and {}",
                    self.plan.number,
                    first.id(),
                    second.id()
                ));
            }
        }
        Ok(first)
    }

    fn key(&self, step: &str) -> String {
        format!("{}-{}-{step}", self.run, self.plan.number)
    }

    fn step(&self, step: &'static str) {
        self.note(|entry| entry.step = step);
    }

    fn note(&self, write: impl FnOnce(&mut Entry)) {
        write(&mut self.entry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Tells the book of a refusal that must not be. One that is only late is seen there as a journey without end.
    fn found(&self, what: &str, status: &Status) -> Stop {
        if !crate::caller::is_no_answer(status) {
            self.book.find(format!("journey {}: {what}: {}", self.plan.number, words(status)));
        }
        Stop
    }
}

/// What is created by a call with a key.
trait Identified {
    fn id(&self) -> &str;
}

impl Identified for Order {
    fn id(&self) -> &str {
        &self.order_id
    }
}

impl Identified for Payment {
    fn id(&self) -> &str {
        &self.payment_id
    }
}

impl Identified for Refund {
    fn id(&self) -> &str {
        &self.refund_id
    }
}

fn money(minor: i64) -> Money {
    Money { currency: "CNY".to_owned(), minor }
}

fn minor(money: Option<&Money>) -> i64 {
    money.map_or(0, |money| money.minor)
}
