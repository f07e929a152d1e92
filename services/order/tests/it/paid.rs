//! What the payment service's events do to orders.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tael_ids::{MerchantId, OrderId, PaymentId};
use tael_proto::event::v1::PaymentClosed;
use tael_proto::event::v1::payload::Kind;
use tael_proto::order::v1::{CancelOrderRequest, Order, OrderState};
use tael_testkit::{eventually, keyed};
use tracing::Dispatch;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::fixture::{Fixture, cny, kind, line, money, pay_time, succeeded, total, voucher_line};

#[tokio::test]
async fn money_pays_the_order_and_issues_its_vouchers() {
    let fixture = Fixture::start().await;
    let lines = vec![
        line("tea", 1, cny(2_000)),
        voucher_line("tasting", 3, cny(1_000)),
        voucher_line("tour", 1, cny(500)),
    ];
    let order = fixture.create(fixture.request(lines)).await;
    let payment = PaymentId::new();
    fixture.payments.log.push(fixture.merchant, succeeded(&order, payment, total(&order)));

    let paid = fixture.until_state(&order, OrderState::Paid).await;
    assert_eq!((paid.payment_id, paid.pay_time), (payment.to_string(), Some(pay_time())));
    let [tasting, tour] = paid.vouchers.as_slice() else { panic!("two vouchers") };
    assert_eq!((&tasting.line_id, tasting.uses), (&order.lines[1].line_id, 3));
    assert_eq!((&tour.line_id, tour.uses), (&order.lines[2].line_id, 1));
    for voucher in [tasting, tour] {
        assert_eq!((&voucher.order_id, voucher.redeemed, voucher.voided), (&order.order_id, 0, 0));
        tael_order::VoucherCode::parse(&voucher.code).unwrap();
        assert_eq!(fixture.voucher(&voucher.code).await.unwrap(), *voucher);
    }
    assert_ne!(tasting.code, tour.code);

    let events = fixture.until_events(3, |k| matches!(k, Kind::OrderPaid(_) | Kind::VoucherIssued(_))).await;
    let Kind::OrderPaid(order_paid) = kind(&events[0]) else { panic!("paid comes first") };
    assert_eq!(order_paid.payment_id, payment.to_string());
    assert_eq!((&order_paid.order_id, &order_paid.amount), (&order.order_id, &Some(cny(5_500))));
    let Kind::VoucherIssued(issued) = kind(&events[1]) else { panic!("then the vouchers") };
    assert_eq!(
        (&issued.voucher_id, &issued.order_id, issued.uses),
        (&tasting.voucher_id, &order.order_id, 3)
    );
    assert!(events.iter().all(|event| event.merchant_id == fixture.merchant.to_string()));
}

#[tokio::test]
async fn what_an_event_causes_belongs_to_the_trace_of_the_event() {
    // The service runs on this test's own thread, and so it is this test's subscriber that it sees.
    let provider = SdkTracerProvider::builder().build();
    let layer =
        tracing_opentelemetry::layer().with_tracer(provider.tracer("tael")).with_filter(LevelFilter::INFO);
    let _traced = tracing_subscriber::registry().with(layer).set_default();
    // As long as there is one subscriber in all, a span that another test's thread comes to first is switched off for
    // every thread; with a second one it is not.
    let _second = Dispatch::new(NoSubscriber::default());

    let fixture = Fixture::start().await;
    let order = fixture.create(fixture.request(vec![voucher_line("tasting", 1, cny(100))])).await;
    let traces = ["4bf92f3577b34da6a3ce929d0e0e4736", "0af7651916cd43dd8448eb211c80319c"];
    for trace in traces {
        let event = succeeded(&order, PaymentId::new(), total(&order));
        fixture.payments.log.push_traced(fixture.merchant, event, &format!("00-{trace}-00f067aa0ba902b7-01"));
    }
    let caused =
        |k: &Kind| matches!(k, Kind::OrderPaid(_) | Kind::VoucherIssued(_) | Kind::OrderPaymentHeld(_));
    let events = fixture.until_events(3, caused).await;
    let of: Vec<&str> = events.iter().map(|event| &event.traceparent[3..35]).collect();
    assert_eq!(of, [traces[0], traces[0], traces[1]]);
}

async fn cancel(fixture: &Fixture, order: &Order) {
    let request =
        CancelOrderRequest { merchant_id: fixture.merchant.to_string(), order_id: order.order_id.clone() };
    fixture.orders.clone().cancel_order(keyed(request)).await.unwrap();
}

#[tokio::test]
async fn money_that_an_order_can_not_take_is_held() {
    let fixture = Fixture::start().await;
    let (cancelled, expired, other_amount, other_currency, paid) = (
        fixture.order().await,
        fixture.order().await,
        fixture.order().await,
        fixture.order().await,
        fixture.order().await,
    );
    let paid = fixture.pay(&paid).await;
    cancel(&fixture, &cancelled).await;
    // Of the five only this one is left to expire: the others are paid or have a payment in doubt.
    for order in [&other_amount, &other_currency] {
        fixture.payments.add(&order.order_id, tael_proto::payment::v1::PaymentState::Succeeded);
    }
    fixture.clock.advance(jiff::SignedDuration::from_hours(1));
    fixture.until_state(&expired, OrderState::Expired).await;

    let payments: Vec<PaymentId> = (0..5).map(|_| PaymentId::new()).collect();
    let cases = [
        (&cancelled, cny(3_000), OrderState::Cancelled),
        (&expired, cny(3_000), OrderState::Expired),
        (&other_amount, cny(2_999), OrderState::PendingPayment),
        (&other_currency, money(3_000, "USD"), OrderState::PendingPayment),
        (&paid, cny(3_000), OrderState::Paid),
    ];
    let events =
        cases.iter().zip(&payments).map(|((order, amount, _), id)| succeeded(order, *id, amount.clone()));
    fixture.payments.log.push_all(fixture.merchant, events);
    for ((order, amount, state), payment) in cases.iter().zip(&payments) {
        let order =
            fixture.until("money to be held", order, |order| !order.unapplied_payments.is_empty()).await;
        assert_eq!(order.state(), *state);
        let [held] = order.unapplied_payments.as_slice() else { panic!("one payment is held") };
        assert_eq!((&held.payment_id, &held.amount), (&payment.to_string(), &Some(amount.clone())));
        assert!(held.hold_time.is_some());
    }
    assert_eq!(fixture.get(&paid).await.payment_id, paid.payment_id);

    let events = fixture.until_events(5, |k| matches!(k, Kind::OrderPaymentHeld(_))).await;
    for (event, (payment, (order, amount, _))) in events.iter().zip(payments.iter().zip(&cases)) {
        let Kind::OrderPaymentHeld(held) = kind(event) else { panic!("filtered") };
        assert_eq!((&held.payment_id, &held.order_id), (&payment.to_string(), &order.order_id));
        assert_eq!(held.amount.as_ref(), Some(amount));
    }
}

#[tokio::test]
async fn money_and_cancellation_at_once_end_in_paid_or_in_held_never_in_lost() {
    let fixture = Fixture::start().await;
    for _ in 0..20 {
        let order = fixture.order().await;
        let request = CancelOrderRequest {
            merchant_id: fixture.merchant.to_string(),
            order_id: order.order_id.clone(),
        };
        fixture.payments.log.push(fixture.merchant, succeeded(&order, PaymentId::new(), total(&order)));
        let cancelled = fixture.orders.clone().cancel_order(keyed(request)).await.is_ok();
        let expected = if cancelled { (OrderState::Cancelled, 1) } else { (OrderState::Paid, 0) };
        fixture.until("the money", &order, |o| (o.state(), o.unapplied_payments.len()) == expected).await;
    }
}

#[tokio::test]
async fn the_first_of_two_payments_in_a_batch_pays_and_the_second_is_held() {
    let fixture = Fixture::start().await;
    let order = fixture.order().await;
    let (first, second) = (PaymentId::new(), PaymentId::new());
    let events = [first, second].map(|payment| succeeded(&order, payment, total(&order)));
    fixture.payments.log.push_all(fixture.merchant, events);
    let paid = fixture.until_state(&order, OrderState::Paid).await;
    assert_eq!(paid.payment_id, first.to_string());
    assert_eq!(paid.unapplied_payments[0].payment_id, second.to_string());
}

#[tokio::test]
async fn a_batch_pays_many_orders() {
    let fixture = Fixture::start().await;
    let mut orders = Vec::new();
    for _ in 0..40 {
        orders.push(fixture.create(fixture.request(vec![voucher_line("tasting", 1, cny(100))])).await);
    }
    let events = orders.iter().map(|order| succeeded(order, PaymentId::new(), total(order)));
    fixture.payments.log.push_all(fixture.merchant, events);
    let mut codes = std::collections::BTreeSet::new();
    for order in &orders {
        let paid = fixture.until_state(order, OrderState::Paid).await;
        codes.insert(paid.vouchers[0].code.clone());
    }
    assert_eq!(codes.len(), 40);
}

#[tokio::test]
async fn events_that_can_not_be_applied_become_dead_letters_and_block_nothing() {
    let fixture = Fixture::start().await;
    let order = fixture.order().await;
    let unknown = Order { order_id: OrderId::new().to_string(), ..order.clone() };
    let garbled = Order { order_id: "ord_".to_owned(), ..order.clone() };
    let somebody = MerchantId::new();
    fixture.payments.log.push(somebody, succeeded(&order, PaymentId::new(), total(&order)));
    let closed = PaymentClosed {
        payment_id: PaymentId::new().to_string(),
        order_id: order.order_id.clone(),
        ..PaymentClosed::default()
    };
    fixture.payments.log.push_all(
        fixture.merchant,
        [
            succeeded(&unknown, PaymentId::new(), total(&order)),
            succeeded(&garbled, PaymentId::new(), total(&order)),
            succeeded(&order, PaymentId::new(), cny(0)),
            Kind::PaymentClosed(closed),
            succeeded(&order, PaymentId::new(), total(&order)),
        ],
    );
    let paid = fixture.until_state(&order, OrderState::Paid).await;
    assert_eq!(paid.unapplied_payments, []);
    let aside = eventually("four events to be set aside", async || {
        Some(fixture.dead_letters().await).filter(|errors| errors.len() == 4)
    })
    .await;
    assert_eq!(aside.iter().filter(|error| error.contains("there is no order")).count(), 2, "{aside:?}");
    assert_eq!(aside.iter().filter(|error| error.contains("order_id is malformed")).count(), 1, "{aside:?}");
    assert_eq!(aside.iter().filter(|error| error.contains("the amount")).count(), 1, "{aside:?}");
}
