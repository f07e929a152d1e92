//! Payments that the channel gave back in closing them.

use jiff::SignedDuration;
use tael_ids::{OrderId, PaymentId, RefundId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::order::v1::{CancelOrderRequest, Order, OrderState, RedeemVoucherRequest, RefundProgress};
use tael_proto::payment::v1::PaymentState;
use tael_testkit::keyed;
use tonic::{Code, Status};

use crate::fixture::{
    Fixture, assert_reason, cny, kind, line, payment_refunded, reversal, succeeded, succeeded_reversed,
    total, voucher_line,
};
use crate::peers::OnClose;

async fn cancel(fixture: &Fixture, order: &Order) -> Result<Order, Status> {
    let request =
        CancelOrderRequest { merchant_id: order.merchant_id.clone(), order_id: order.order_id.clone() };
    Ok(fixture.orders.clone().cancel_order(keyed(request)).await?.into_inner().order.unwrap())
}

async fn until_refunded(fixture: &Fixture, order: &Order) -> Order {
    fixture.until("the refund", order, |o| o.refund_progress() == RefundProgress::Full).await
}

/// Waits until everything that was pushed so far has been consumed: what is in the log behind it has its effect.
async fn until_consumed(fixture: &Fixture) {
    let last = fixture.order().await;
    fixture.pay(&last).await;
}

#[tokio::test]
async fn a_reversed_payment_pays_nothing_and_holds_nothing() {
    let fixture = Fixture::start().await;
    let (open, cancelled) = (fixture.order().await, fixture.order().await);
    let cancelled = cancel(&fixture, &cancelled).await.unwrap();
    for order in [&open, &cancelled] {
        let payment = PaymentId::new();
        let events = [succeeded_reversed(order, payment), reversal(order, payment, RefundId::new())];
        fixture.payments.log.push_all(fixture.merchant, events);
    }
    until_consumed(&fixture).await;
    assert_eq!(fixture.get(&open).await, open);
    assert_eq!(fixture.get(&cancelled).await, cancelled);
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
    let moved = |k: &Kind| matches!(k, Kind::OrderPaymentHeld(_) | Kind::OrderRefunded(_));
    assert_eq!(fixture.events().await.iter().filter(|event| moved(kind(event))).count(), 0);
    // The order can still be paid.
    fixture.pay(&open).await;
}

#[tokio::test]
async fn the_reversal_of_what_paid_an_order_refunds_it_in_full_once() {
    let fixture = Fixture::start().await;
    let lines = vec![line("tea", 1, cny(1_000)), voucher_line("tasting", 3, cny(1_000))];
    let order = fixture.create(fixture.request(lines)).await;
    let payment = PaymentId::new();
    fixture.payments.log.push(fixture.merchant, succeeded(&order, payment, total(&order)));
    let paid = fixture.until_state(&order, OrderState::Paid).await;
    let request = RedeemVoucherRequest {
        merchant_id: fixture.merchant.to_string(),
        code: paid.vouchers[0].code.clone(),
        count: 1,
        terminal: "till-1".into(),
        operator: "Li".into(),
    };
    fixture.vouchers().redeem_voucher(keyed(request)).await.unwrap();

    let refund = RefundId::new();
    fixture.payments.log.push(fixture.merchant, reversal(&order, payment, refund));
    let after = until_refunded(&fixture, &order).await;
    assert_eq!((after.state(), after.refunded), (OrderState::Paid, Some(cny(4_000))));
    assert_eq!((after.vouchers[0].redeemed, after.vouchers[0].voided), (1, 2));

    // Told again, alone or twice in a batch, it has no effect.
    fixture.payments.log.push(fixture.merchant, reversal(&order, payment, refund));
    fixture.payments.log.push_all(fixture.merchant, [(); 2].map(|()| reversal(&order, payment, refund)));
    until_consumed(&fixture).await;
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
    let events = fixture.until_events(1, |k| matches!(k, Kind::OrderRefunded(_))).await;
    let [event] = events.as_slice() else { panic!("one event") };
    let Kind::OrderRefunded(told) = kind(event) else { panic!("filtered") };
    assert_eq!((&told.order_id, &told.refund_id), (&order.order_id, &refund.to_string()));
    assert_eq!(told.refunded, Some(cny(4_000)));
}

#[tokio::test]
async fn money_and_its_reversal_in_one_batch_are_applied_in_order() {
    let fixture = Fixture::start().await;
    let order = fixture.create(fixture.request(vec![voucher_line("tasting", 2, cny(1_500))])).await;
    let other = fixture.order().await;
    let (payment, late) = (PaymentId::new(), PaymentId::new());
    fixture.payments.log.push_all(
        fixture.merchant,
        [
            succeeded(&order, payment, total(&order)),
            reversal(&order, payment, RefundId::new()),
            // Paid, reversed, and paid again: the order was paid by the first, and the second is held.
            succeeded(&order, late, total(&order)),
            succeeded(&other, PaymentId::new(), total(&other)),
        ],
    );
    let after = until_refunded(&fixture, &order).await;
    assert_eq!(after.payment_id, payment.to_string());
    assert_eq!((after.vouchers[0].redeemed, after.vouchers[0].voided), (0, 2));
    let held: Vec<_> = after.unapplied_payments.iter().map(|held| held.payment_id.as_str()).collect();
    assert_eq!(held, [late.to_string()]);
    let other = fixture.until_state(&other, OrderState::Paid).await;
    assert_eq!(other.refund_progress(), RefundProgress::None);

    let wanted = |k: &Kind| matches!(k, Kind::OrderPaid(_) | Kind::OrderRefunded(_));
    let events = fixture.until_events(3, wanted).await;
    let of_order: Vec<bool> = events
        .iter()
        .filter(|event| event.aggregate_id == order.order_id)
        .map(|event| matches!(kind(event), Kind::OrderPaid(_)))
        .collect();
    assert_eq!(of_order, [true, false], "paid, and then refunded");
}

#[tokio::test]
async fn reversals_of_what_paid_no_order_change_nothing_and_become_no_dead_letters() {
    let fixture = Fixture::start().await;
    let (paid, open, cancelled) = (fixture.order().await, fixture.order().await, fixture.order().await);
    let paid = fixture.pay(&paid).await;
    let cancelled = cancel(&fixture, &cancelled).await.unwrap();

    let unknown = Order { order_id: OrderId::new().to_string(), ..open.clone() };
    let asked_for = payment_refunded(&paid, paid.payment_id.parse().unwrap(), RefundId::new());
    fixture.payments.log.push_all(
        fixture.merchant,
        [
            reversal(&cancelled, PaymentId::new(), RefundId::new()),
            reversal(&paid, PaymentId::new(), RefundId::new()),
            reversal(&open, PaymentId::new(), RefundId::new()),
            reversal(&unknown, PaymentId::new(), RefundId::new()),
            // A refund that was asked for is the refund service's to tell.
            Kind::PaymentRefunded(asked_for),
        ],
    );
    until_consumed(&fixture).await;
    for order in [&paid, &open, &cancelled] {
        assert_eq!(fixture.get(order).await, *order);
    }
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn an_order_whose_payment_was_given_back_is_cancelled() {
    let fixture = Fixture::start().await;
    let known = fixture.order().await;
    fixture.payments.add_refunded(&known.order_id, cny(3_000), cny(3_000));
    let raced = fixture.order().await;
    fixture.payments.add(&raced.order_id, PaymentState::Pending);
    fixture.payments.on_next_close(OnClose::GivesBack(cny(3_000)));
    for order in [known, raced] {
        assert_eq!(cancel(&fixture, &order).await.unwrap().state(), OrderState::Cancelled);
    }

    let partly = fixture.order().await;
    fixture.payments.add_refunded(&partly.order_id, cny(3_000), cny(2_999));
    let raced_partly = fixture.order().await;
    fixture.payments.add(&raced_partly.order_id, PaymentState::Pending);
    fixture.payments.on_next_close(OnClose::GivesBack(cny(1)));
    for order in [partly, raced_partly] {
        let status = cancel(&fixture, &order).await.unwrap_err();
        assert_reason(&status, Code::FailedPrecondition, "ORDER_STATE");
        assert_eq!(fixture.get(&order).await.state(), OrderState::PendingPayment);
    }
}

#[tokio::test]
async fn an_order_whose_payment_was_given_back_expires() {
    let fixture = Fixture::start().await;
    let known = fixture.order().await;
    fixture.payments.add_refunded(&known.order_id, cny(3_000), cny(3_000));
    let raced = fixture.order().await;
    fixture.payments.add(&raced.order_id, PaymentState::Pending);
    fixture.payments.on_next_close(OnClose::GivesBack(cny(3_000)));
    fixture.clock.advance(SignedDuration::from_hours(1));
    for order in [known, raced] {
        fixture.until_state(&order, OrderState::Expired).await;
    }
}
