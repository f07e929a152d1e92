//! One buyer's journey, from the order to its end, whatever goes wrong meanwhile.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tael_proto::order::v1::{
    CancelOrderRequest, CreateOrderRequest, Fulfilment, GetOrderRequest, NewLine, Order, OrderState,
    RedeemVoucherRequest, RedeemVoucherResponse, Voucher,
};
use tael_proto::payment::v1::{CreatePaymentRequest, GetPaymentRequest, Payment, PaymentState, next_action};
use tael_proto::refund::v1::{
    CreateRefundRequest, FullRefund, GetRefundRequest, LineQuantity, LinesRefund, Refund, RefundState,
    create_refund_request,
};
use tael_proto::r#type::v1::{Channel, Method, Money};
use tael_sandbox::client::ControlError;
use tael_sandbox::control::{OrderRef, TradeStatus};
use tokio::time::Instant;
use tonic::Status;

use super::book::{Acknowledged, Book, Entry, Redemption};
use super::plan::{Kind, Plan, RefundPlan};
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

    async fn create_order(&self, expire_after: Option<Duration>) -> Result<Order, Stop> {
        self.step("CreateOrder");
        let lines = self.plan.lines.iter().zip(1..).map(|(line, number)| NewLine {
            sku: format!("SKU-{number}"),
            name: format!("thing {number}"),
            quantity: line.quantity,
            unit_price: Some(money(line.price_minor)),
            fulfilment: if line.voucher { Fulfilment::Voucher } else { Fulfilment::Shipped }.into(),
        });
        let create = CreateOrderRequest {
            merchant_id: self.shop.merchant_id.clone(),
            merchant_reference: format!("journey-{}", self.plan.number),
            lines: lines.collect(),
            expire_after: expire_after.map(|time| prost_types::Duration {
                seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
                nanos: 0,
            }),
            ..CreateOrderRequest::default()
        };
        let key = self.key("order");
        let ask = || {
            self.caller.ask("CreateOrder", Some(&key), create.clone(), |mut c, r| async move {
                c.order.create_order(r).await
            })
        };
        let order = self.once_or_twice("CreateOrder", ask, |answer| answer.order).await?;
        let total = minor(order.price.as_ref().and_then(|price| price.total.as_ref()));
        if total != self.plan.total_minor() {
            self.book.find(format!(
                "journey {}: order {} costs {total} instead of {}",
                self.plan.number,
                order.order_id,
                self.plan.total_minor()
            ));
        }
        self.note(|entry| {
            entry.order = Some(Acknowledged { id: order.order_id.clone(), minor: total });
        });
        Ok(order)
    }

    /// Creates a payment and waits until the payer can pay.
    async fn create_payment(&self, order: &Order) -> Result<Payment, Stop> {
        self.step("CreatePayment");
        let create = CreatePaymentRequest {
            merchant_id: self.shop.merchant_id.clone(),
            order_id: order.order_id.clone(),
            method: Method::QrCode.into(),
            channel: Channel::Alipay.into(),
        };
        let key = self.key("payment");
        let ask = || {
            self.caller.ask("CreatePayment", Some(&key), create.clone(), |mut c, r| async move {
                c.payment.create_payment(r).await
            })
        };
        let payment = self.once_or_twice("CreatePayment", ask, |answer| answer.payment).await?;
        let acknowledged =
            Acknowledged { id: payment.payment_id.clone(), minor: minor(payment.amount.as_ref()) };
        self.note(|entry| entry.payments.push(acknowledged));
        let payment = self
            .payment_until("wait for a code", &payment.payment_id, |p| p.state() != PaymentState::Created)
            .await?;
        if payment.state() == PaymentState::Pending || self.plan.kind == Kind::Expire {
            return Ok(payment);
        }
        let finding = format!(
            "journey {}: payment {} is {:?} although nobody refused it: {:?}",
            self.plan.number,
            payment.payment_id,
            payment.state(),
            payment.attempts
        );
        self.book.find(finding);
        Err(Stop)
    }

    /// The payer pays; returns whether the channel took it.
    async fn pay(&self, payment: &Payment) -> Result<bool, Stop> {
        self.step("pay");
        let action = payment.next_action.clone().and_then(|next| next.action);
        let Some(next_action::Action::QrCode(qr_code)) = action else {
            return Ok(false); // an order that expired before its payment had a code
        };
        loop {
            let order = OrderRef::Qr { qr_code: qr_code.clone() };
            match self.caller.payer.pay(order).await {
                Ok(trade) => {
                    let paid = trade.status == TradeStatus::TradeSuccess;
                    if paid {
                        self.note(|entry| entry.paid_numbers.push(trade.out_trade_no));
                    }
                    return Ok(paid);
                }
                Err(ControlError::Refused { .. }) => return Ok(false),
                Err(error) if self.caller.calls.is_given_up() => {
                    self.book.find(format!("journey {}: the payer: {error}", self.plan.number));
                    return Err(Stop);
                }
                Err(_) => tokio::time::sleep(LOOK_LONGEST).await,
            }
        }
    }

    async fn cancel(&self, order: &Order) -> Result<(), Status> {
        self.step("CancelOrder");
        let cancel = CancelOrderRequest {
            merchant_id: self.shop.merchant_id.clone(),
            order_id: order.order_id.clone(),
        };
        self.caller
            .ask("CancelOrder", Some(&self.key("cancel")), cancel, |mut c, r| async move {
                c.order.cancel_order(r).await
            })
            .await?;
        self.note(|entry| entry.order_end = Some("cancelled"));
        Ok(())
    }

    async fn redeem(&self, number: usize, voucher: &Voucher) -> Result<(), Stop> {
        self.step("RedeemVoucher");
        let ask = |till: usize| {
            let redeem = RedeemVoucherRequest {
                merchant_id: self.shop.merchant_id.clone(),
                code: voucher.code.clone(),
                count: voucher.uses,
                terminal: format!("till-{till}"),
                operator: "Li".to_owned(),
            };
            let key = self.key(&format!("redeem-{number}-{till}"));
            async move {
                self.caller
                    .ask("RedeemVoucher", Some(&key), redeem, |mut c, r| async move {
                        c.order.redeem_voucher(r).await
                    })
                    .await
            }
        };
        let answers: Vec<Result<RedeemVoucherResponse, Status>> = if self.plan.double_scan {
            let (first, second) = tokio::join!(ask(1), ask(2));
            vec![first, second]
        } else {
            vec![ask(1).await]
        };
        let mut redeemed = 0;
        for answer in answers {
            match answer {
                Ok(answer) => {
                    redeemed += 1;
                    let redemption = Redemption {
                        id: answer.redemption_id,
                        voucher_id: voucher.voucher_id.clone(),
                        count: voucher.uses,
                    };
                    self.note(|entry| entry.redemptions.push(redemption));
                }
                Err(status) if reason(&status).as_deref() == Some("VOUCHER_USED_UP") => {}
                Err(status) => return Err(self.found("RedeemVoucher", &status)),
            }
        }
        if redeemed != 1 {
            self.book.find(format!(
                "journey {}: voucher {} was redeemed {redeemed} times",
                self.plan.number, voucher.voucher_id
            ));
        }
        Ok(())
    }

    /// Asks for a refund and waits for its end; returns what was refunded.
    async fn refund(
        &self,
        number: usize,
        wanted: RefundPlan,
        order: &Order,
        refunded: i64,
    ) -> Result<i64, Stop> {
        self.step("CreateRefund");
        let total = self.plan.total_minor();
        let scope = match wanted {
            RefundPlan::Percent(percent) => {
                create_refund_request::Scope::Amount(money((total * percent / 100).max(1)))
            }
            RefundPlan::Unit => {
                let line_id = order.lines.first().map(|line| line.line_id.clone()).unwrap_or_default();
                let lines = vec![LineQuantity { line_id, quantity: 1 }];
                create_refund_request::Scope::Lines(LinesRefund { lines })
            }
            RefundPlan::Rest => create_refund_request::Scope::Full(FullRefund {}),
        };
        let create = CreateRefundRequest {
            merchant_id: self.shop.merchant_id.clone(),
            order_id: order.order_id.clone(),
            scope: Some(scope),
            reason: "chaos".to_owned(),
        };
        let key = self.key(&format!("refund-{number}"));
        let ask = || {
            let create = create.clone();
            let key = &key;
            async move {
                let answer = self
                    .caller
                    .ask("CreateRefund", Some(key), create, |mut c, r| async move {
                        c.refund.create_refund(r).await
                    })
                    .await;
                match answer {
                    Ok(answer) => Ok(Some(answer)),
                    // Nothing may be left: of the order, or because the unit is worth nothing.
                    Err(status)
                        if matches!(
                            reason(&status).as_deref(),
                            Some("REFUND_EXCEEDS_ORDER" | "REFUND_EXCEEDS_LINE")
                        ) =>
                    {
                        Ok(None)
                    }
                    Err(status) => Err(status),
                }
            }
        };
        let refund = self.once_or_twice("CreateRefund", ask, |answer| {
            // A refusal is an answer, too.
            Some(answer.map(|answer| answer.refund.unwrap_or_default()).unwrap_or_default())
        });
        let refund: Refund = refund.await?;
        if refund.refund_id.is_empty() {
            if refunded == 0 {
                self.book.find(format!("journey {}: a first refund was refused", self.plan.number));
            }
            return Ok(0);
        }
        let amount = minor(refund.amount.as_ref());
        let acknowledged = Acknowledged { id: refund.refund_id.clone(), minor: amount };
        self.note(|entry| entry.refunds.push(acknowledged));
        let get = GetRefundRequest {
            merchant_id: self.shop.merchant_id.clone(),
            refund_id: refund.refund_id.clone(),
        };
        let refund: Refund = self
            .until(
                "wait for the refund",
                get,
                |mut c, r| async move { c.refund.get_refund(r).await },
                |answer| answer.refund.filter(|refund| refund.state() != RefundState::Processing),
            )
            .await?;
        if refund.state() != RefundState::Succeeded {
            self.book.find(format!(
                "journey {}: refund {} is {:?} ({}) although the channel refused nothing",
                self.plan.number,
                refund.refund_id,
                refund.state(),
                refund.failure_reason
            ));
            return Err(Stop);
        }
        Ok(amount)
    }

    async fn order_until(
        &self,
        step: &'static str,
        order: &Order,
        wanted: impl Fn(&Order) -> bool,
    ) -> Result<Order, Stop> {
        let get =
            GetOrderRequest { merchant_id: self.shop.merchant_id.clone(), order_id: order.order_id.clone() };
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
