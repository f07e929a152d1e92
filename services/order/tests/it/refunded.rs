//! What the refund service's events do to orders.

use tael_ids::{OrderId, PaymentId, RefundId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::order::v1::{Order, OrderState, RedeemVoucherRequest, RefundProgress};
use tael_testkit::{eventually, keyed};

use crate::fixture::{Fixture, cny, kind, line, refunded, voucher_line};

async fn paid(fixture: &Fixture, lines: Vec<tael_proto::order::v1::NewLine>) -> Order {
    let order = fixture.create(fixture.request(lines)).await;
    fixture.pay(&order).await
}

async fn until_refunded(fixture: &Fixture, order: &Order, minor: i64) -> Order {
    fixture
        .until("the refund", order, |order| order.refunded.as_ref().is_some_and(|sum| sum.minor == minor))
        .await
}

async fn redeem(fixture: &Fixture, order: &Order, count: u32) {
    let request = RedeemVoucherRequest {
        merchant_id: fixture.merchant.to_string(),
        code: order.vouchers[0].code.clone(),
        count,
        terminal: "till-1".into(),
        operator: "Li".into(),
    };
    fixture.vouchers().redeem_voucher(keyed(request)).await.unwrap();
}

#[tokio::test]
async fn refunds_add_up_to_the_total() {
    let fixture = Fixture::start().await;
    let order = paid(&fixture, vec![line("tea", 2, cny(1_500))]).await;
    assert_eq!(order.refund_progress(), RefundProgress::None);
    let (first, second) = (RefundId::new(), RefundId::new());
    fixture.refunds.push(fixture.merchant, refunded(&order, first, cny(1_000), &[]));
    let partly = until_refunded(&fixture, &order, 1_000).await;
    assert_eq!((partly.state(), partly.refund_progress()), (OrderState::Paid, RefundProgress::Partial));
    fixture.refunds.push(fixture.merchant, refunded(&order, second, cny(2_000), &[]));
    let fully = until_refunded(&fixture, &order, 3_000).await;
    assert_eq!((fully.state(), fully.refund_progress()), (OrderState::Paid, RefundProgress::Full));

    let events = fixture.until_events(2, |k| matches!(k, Kind::OrderRefunded(_))).await;
    let told: Vec<_> = events
        .iter()
        .map(|event| match kind(event) {
            Kind::OrderRefunded(told) => {
                assert_eq!(told.order_id, order.order_id);
                (told.refund_id.clone(), told.refunded.clone().unwrap())
            }
            _ => unreachable!("filtered"),
        })
        .collect();
    assert_eq!(told, [(first.to_string(), cny(1_000)), (second.to_string(), cny(3_000))]);
}

#[tokio::test]
async fn a_refund_is_counted_once_however_often_it_is_told() {
    let fixture = Fixture::start().await;
    let order = paid(&fixture, vec![voucher_line("tasting", 4, cny(500))]).await;
    let line = order.lines[0].line_id.as_str();
    let event = refunded(&order, RefundId::new(), cny(500), &[(line, 1)]);
    fixture.refunds.push_all(fixture.merchant, [event.clone(), event.clone()]);
    until_refunded(&fixture, &order, 500).await;
    let last = refunded(&order, RefundId::new(), cny(1), &[]);
    fixture.refunds.push_all(fixture.merchant, [event, last]);
    let order = until_refunded(&fixture, &order, 501).await;
    assert_eq!(order.vouchers[0].voided, 1);
    assert_eq!(fixture.until_events(2, |k| matches!(k, Kind::OrderRefunded(_))).await.len(), 2);
}

#[tokio::test]
async fn a_refunded_line_takes_back_unredeemed_uses() {
    let fixture = Fixture::start().await;
    let lines = vec![voucher_line("tasting", 3, cny(1_000)), voucher_line("tour", 1, cny(1_000))];
    let order = paid(&fixture, lines).await;
    let line = order.lines[0].line_id.as_str();
    redeem(&fixture, &order, 1).await;

    let refund = refunded(&order, RefundId::new(), cny(1_000), &[(line, 1)]);
    fixture.refunds.push(fixture.merchant, refund);
    let after = until_refunded(&fixture, &order, 1_000).await;
    let counters: Vec<_> = after.vouchers.iter().map(|v| (v.redeemed, v.voided)).collect();
    assert_eq!(counters, [(1, 1), (0, 0)]);

    // Two more units are refunded, but one of them was redeemed: kindness does not void what is used.
    let refund = refunded(&order, RefundId::new(), cny(2_000), &[(line, 2)]);
    fixture.refunds.push(fixture.merchant, refund);
    let after = until_refunded(&fixture, &order, 3_000).await;
    let counters: Vec<_> = after.vouchers.iter().map(|v| (v.redeemed, v.voided)).collect();
    assert_eq!(counters, [(1, 2), (0, 0)]);
}

#[tokio::test]
async fn a_full_refund_takes_back_all_that_is_left() {
    let fixture = Fixture::start().await;
    let lines = vec![voucher_line("tasting", 3, cny(1_000)), voucher_line("tour", 2, cny(1_000))];
    let order = paid(&fixture, lines).await;
    redeem(&fixture, &order, 2).await;
    fixture.refunds.push(fixture.merchant, refunded(&order, RefundId::new(), cny(5_000), &[]));
    let after = until_refunded(&fixture, &order, 5_000).await;
    let counters: Vec<_> = after.vouchers.iter().map(|v| (v.redeemed, v.voided)).collect();
    assert_eq!(counters, [(2, 1), (0, 2)]);
}

#[tokio::test]
async fn refunds_that_contradict_the_order_become_dead_letters() {
    let fixture = Fixture::start().await;
    let order = paid(&fixture, vec![line("tea", 2, cny(1_500))]).await;
    let unpaid = fixture.order().await;
    let other_payment = Order { payment_id: PaymentId::new().to_string(), ..order.clone() };
    let unpaid = Order { payment_id: PaymentId::new().to_string(), ..unpaid };
    let unknown = Order { order_id: OrderId::new().to_string(), ..order.clone() };
    let new = RefundId::new;
    fixture.refunds.push_all(
        fixture.merchant,
        [
            refunded(&order, new(), cny(2_000), &[]),
            refunded(&order, new(), cny(1_001), &[]),
            refunded(&order, new(), crate::fixture::money(1, "USD"), &[]),
            refunded(&other_payment, new(), cny(1), &[]),
            refunded(&unpaid, new(), cny(1), &[]),
            refunded(&unknown, new(), cny(1), &[]),
            refunded(&order, new(), cny(1_000), &[]),
        ],
    );
    let order = until_refunded(&fixture, &order, 3_000).await;
    assert_eq!(order.refund_progress(), RefundProgress::Full);
    let aside = eventually("five events to be set aside", async || {
        Some(fixture.dead_letters().await).filter(|errors| errors.len() == 5)
    })
    .await;
    let count = |part: &str| aside.iter().filter(|error| error.contains(part)).count();
    assert_eq!(count("exceed its total"), 2, "{aside:?}");
    assert_eq!(count("was not paid by the payment"), 2, "{aside:?}");
    assert_eq!(count("there is no order"), 1, "{aside:?}");
}
