//! One buyer's journey, timed step by step.

use std::time::Duration;

use hdrhistogram::Histogram;
use tael_proto::order::v1::{CreateOrderRequest, Fulfilment, GetOrderRequest, NewLine, Order, OrderState};
use tael_proto::payment::v1::{CreatePaymentRequest, next_action};
use tael_proto::refund::v1::{
    CreateRefundRequest, GetRefundRequest, LineQuantity, LinesRefund, RefundState, create_refund_request,
};
use tael_proto::r#type::v1::{Channel, Method, Money};
use tael_sandbox::control::TradeRef;
use tokio::time::Instant;

use crate::Error;
use crate::clients::{Clients, keyed};
use crate::shop::{Shop, answer};

const PATIENCE: Duration = Duration::from_secs(30);
/// How often a state is looked at while it is waited for.
const LOOK: Duration = Duration::from_millis(5);
const PRICE: i64 = 19_90;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// `CreateOrder`.
    CreateOrder,
    /// `CreatePayment`, with the call to the channel.
    CreatePayment,
    /// From the payer's confirmation at the channel to the order being paid: notification, payment, event, order.
    Paid,
    /// From `CreateRefund` to the refund having succeeded, with the call to the channel.
    Refund,
    /// All of it.
    Journey,
}

impl Step {
    /// Every step, in the order of the journey.
    pub(crate) const ALL: [Self; 5] =
        [Self::CreateOrder, Self::CreatePayment, Self::Paid, Self::Refund, Self::Journey];

    /// The name as it is printed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CreateOrder => "create_order",
            Self::CreatePayment => "create_payment",
            Self::Paid => "paid",
            Self::Refund => "refund",
            Self::Journey => "journey",
        }
    }
}

/// What was measured.
pub(crate) struct Timings {
    /// Microseconds per step, in the order of [`Step::ALL`].
    steps: [Histogram<u64>; 5],
    /// What the journeys took in, in fen.
    pub(crate) paid_minor: i64,
    /// What they gave back, in fen.
    pub(crate) refunded_minor: i64,
    /// The first of the errors, and how many there were.
    pub(crate) first_error: Option<String>,
    pub(crate) errors: u64,
}

impl Default for Timings {
    fn default() -> Self {
        let histogram = || Histogram::new(3).expect("three digits are allowed");
        Self {
            steps: std::array::from_fn(|_| histogram()),
            paid_minor: 0,
            refunded_minor: 0,
            first_error: None,
            errors: 0,
        }
    }
}

impl Timings {
    /// Plays one journey and keeps its times, or its error.
    pub(crate) async fn play(&mut self, clients: &Clients, shop: &Shop, refund: bool) {
        if let Err(error) = self.try_play(clients, shop, refund).await {
            self.errors += 1;
            self.first_error.get_or_insert_with(|| error.to_string());
        }
    }

    async fn try_play(&mut self, clients: &Clients, shop: &Shop, refund: bool) -> Result<(), Error> {
        let mut clients = clients.clone();
        let begin = Instant::now();
        let order = create_order(&mut clients, shop).await?;
        let ordered = Instant::now();
        let create = CreatePaymentRequest {
            merchant_id: shop.id(),
            order_id: order.order_id.clone(),
            method: Method::QrCode.into(),
            channel: Channel::Alipay.into(),
            ..CreatePaymentRequest::default()
        };
        let payment = answer(clients.payment.create_payment(keyed(create)).await?.into_inner().payment)?;
        let created = Instant::now();
        let Some(next_action::Action::QrCode(qr_code)) = payment.next_action.and_then(|next| next.action)
        else {
            return Err("the payment has no QR code".into());
        };
        let scanned = Instant::now();
        clients.payer.pay(TradeRef::code(qr_code)).await?;
        let order = paid(&mut clients, shop, order).await?;
        let done = Instant::now();
        self.record(Step::CreateOrder, ordered - begin);
        self.record(Step::CreatePayment, created - ordered);
        self.record(Step::Paid, done - scanned);
        self.paid_minor += order.price.and_then(|p| p.total).map_or(0, |total| total.minor);
        if refund {
            let line = order.lines.first().ok_or("an order has lines")?;
            self.refunded_minor += refund_line(&mut clients, shop, &order.order_id, &line.line_id).await?;
            self.record(Step::Refund, done.elapsed());
        }
        self.record(Step::Journey, begin.elapsed());
        Ok(())
    }

    fn record(&mut self, step: Step, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX / 2);
        self.steps[step as usize].record(micros).expect("a histogram grows by itself");
    }

    /// Adds what another client measured.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.steps.iter_mut().zip(&other.steps) {
            mine.add(theirs).expect("both have the same digits and grow by themselves");
        }
        self.paid_minor += other.paid_minor;
        self.refunded_minor += other.refunded_minor;
        self.errors += other.errors;
        if self.first_error.is_none() {
            self.first_error.clone_from(&other.first_error);
        }
    }

    /// How often a step was done.
    pub(crate) fn count(&self, step: Step) -> u64 {
        self.steps[step as usize].len()
    }

    /// The time, in microseconds, within which so many percent of a step were done.
    pub(crate) fn percentile_us(&self, step: Step, percent: u8) -> u64 {
        self.steps[step as usize].value_at_percentile(f64::from(percent))
    }
}

async fn create_order(clients: &mut Clients, shop: &Shop) -> Result<Order, Error> {
    let line = |sku: &str, quantity| NewLine {
        sku: sku.to_owned(),
        name: format!("bench {sku}"),
        quantity,
        unit_price: Some(Money { currency: "CNY".to_owned(), minor: PRICE }),
        fulfilment: Fulfilment::Shipped.into(),
    };
    let create = CreateOrderRequest {
        merchant_id: shop.id(),
        lines: vec![line("A", 2), line("B", 1)],
        ..CreateOrderRequest::default()
    };
    answer(clients.order.create_order(keyed(create)).await?.into_inner().order)
}

async fn paid(clients: &mut Clients, shop: &Shop, order: Order) -> Result<Order, Error> {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        let get = GetOrderRequest {
            merchant_id: shop.id(),
            order_id: order.order_id.clone(),
            ..Default::default()
        };
        let order = answer(clients.order.get_order(get).await?.into_inner().order)?;
        if order.state() == OrderState::Paid {
            return Ok(order);
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(format!("order {} was not paid within {} s", order.order_id, PATIENCE.as_secs()).into())
}

async fn refund_line(
    clients: &mut Clients,
    shop: &Shop,
    order_id: &str,
    line_id: &str,
) -> Result<i64, Error> {
    let create = CreateRefundRequest {
        merchant_id: shop.id(),
        order_id: order_id.to_owned(),
        scope: Some(create_refund_request::Scope::Lines(LinesRefund {
            lines: vec![LineQuantity { line_id: line_id.to_owned(), quantity: 1 }],
        })),
        reason: "bench".to_owned(),
        force_reason: String::new(),
    };
    let mut refund = answer(clients.refund.create_refund(keyed(create)).await?.into_inner().refund)?;
    let begin = Instant::now();
    while refund.state() != RefundState::Succeeded {
        if refund.state() != RefundState::Processing || begin.elapsed() > PATIENCE {
            return Err(format!("refund {} is {:?}", refund.refund_id, refund.state()).into());
        }
        tokio::time::sleep(LOOK).await;
        let get = GetRefundRequest { merchant_id: shop.id(), refund_id: refund.refund_id.clone() };
        refund = answer(clients.refund.get_refund(get).await?.into_inner().refund)?;
    }
    Ok(refund.amount.map_or(0, |amount| amount.minor))
}
