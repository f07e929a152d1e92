//! Held money on its way back: asked for until its end is known, and told of once.

use jiff::SignedDuration;
use tael_ids::{PaymentId, RefundId};
use tael_proto::event::v1::PaymentRefundFailed;
use tael_proto::event::v1::payload::Kind;
use tael_proto::order::v1::{
    LatePaymentAction as Action, Order, OrderState, RefundProgress, UnappliedPayment, UnappliedPaymentState,
};
use tael_testkit::eventually;

use crate::fixture::{Fixture, cny, kind, payment_refunded, reversal, succeeded, total};
use crate::peers::OnRefund;

/// The longest pause between two tries, and more than the lease.
const LATER: SignedDuration = SignedDuration::from_mins(5);

async fn refunding() -> Fixture {
    let fixture = Fixture::start().await;
    fixture.policy(Action::Refund, Action::Refund).await;
    fixture
}

async fn until_asked(fixture: &Fixture, times: usize) {
    eventually("the refund to be asked for", async || {
        (fixture.payments.refund_calls().len() >= times).then_some(())
    })
    .await;
}

fn payment(held: &UnappliedPayment) -> PaymentId {
    held.payment_id.parse().unwrap()
}

fn refund(held: &UnappliedPayment) -> RefundId {
    held.refund_id.parse().unwrap()
}

fn moved(order: &Order, held: &UnappliedPayment) -> Kind {
    Kind::PaymentRefunded(payment_refunded(order, payment(held), refund(held)))
}

fn refused(held: &UnappliedPayment) -> Kind {
    Kind::PaymentRefundFailed(PaymentRefundFailed {
        payment_id: held.payment_id.clone(),
        refund_id: held.refund_id.clone(),
        amount: held.amount.clone(),
        reason: "DECLINED".into(),
    })
}

/// A cancelled order whose money is on its way back, and the channel's answer is not clear.
async fn in_doubt(fixture: &Fixture) -> (Order, UnappliedPayment) {
    fixture.payments.on_next_refund(OnRefund::StaysPending);
    let asked = fixture.payments.refund_calls().len();
    let order = fixture.cancelled().await;
    let held = fixture.late(&order, UnappliedPaymentState::Refunding).await;
    until_asked(fixture, asked + 1).await;
    fixture.until_tried(&held.refund_id, 1).await;
    (order, held)
}

#[tokio::test]
async fn by_policy_late_money_goes_back_by_itself() {
    let fixture = refunding().await;
    let (paid, open, cancelled) = (fixture.order().await, fixture.order().await, fixture.cancelled().await);
    fixture.pay(&paid).await;
    for (order, amount) in [(&paid, cny(3_000)), (&open, cny(1)), (&cancelled, cny(3_000))] {
        let state = fixture.get(order).await.state();
        let payment = PaymentId::new();
        fixture.payments.log.push(fixture.merchant, succeeded(order, payment, amount.clone()));
        let held = fixture.until_held(order, payment, UnappliedPaymentState::Refunded).await;
        assert!(held.release_time.is_some() && held.refund_failure.is_empty());
        let call = fixture.payments.refund_calls().pop().unwrap();
        assert_eq!((call.payment_id, call.refund_id), (payment.to_string(), held.refund_id));
        assert_eq!((call.merchant_id, call.amount), (fixture.merchant.to_string(), Some(amount)));
        // What the order shows as refunded is of the payment that paid it.
        let after = fixture.get(order).await;
        assert_eq!((after.state(), after.refund_progress()), (state, RefundProgress::None));
    }
    assert_eq!(fixture.told(&cancelled).await, ["held", "given back"]);
    let events = fixture.until_events(3, |k| matches!(k, Kind::OrderPaymentReleased(_))).await;
    let Kind::OrderPaymentReleased(released) = kind(&events[1]) else { panic!("filtered") };
    assert_eq!((&released.order_id, &released.amount), (&open.order_id, &Some(cny(1))));
    assert!(!released.accepted);
    assert_eq!(fixture.list_held(0, "").await.unapplied_payments, []);
    assert_eq!((fixture.payments.refund_calls().len(), fixture.payments.moved().len()), (3, 3));
}

#[tokio::test]
async fn the_event_may_come_before_the_answer_and_after_it_and_twice() {
    let fixture = refunding().await;
    // Before.
    let (order, held) = in_doubt(&fixture).await;
    fixture.payments.log.push_all(fixture.merchant, [moved(&order, &held), moved(&order, &held)]);
    fixture.until_held(&order, payment(&held), UnappliedPaymentState::Refunded).await;
    fixture.payments.log.push(fixture.merchant, moved(&order, &held));
    // After.
    let other = fixture.cancelled().await;
    let late = fixture.late(&other, UnappliedPaymentState::Refunded).await;
    fixture.payments.log.push_all(fixture.merchant, [moved(&other, &late), moved(&other, &late)]);
    fixture.until_consumed().await;

    fixture.clock.advance(LATER);
    fixture.until_consumed().await;
    for order in [&order, &other] {
        assert_eq!(fixture.told(order).await, ["held", "given back"]);
        assert_eq!(fixture.get(order).await.refunded, Some(cny(0)));
    }
    assert_eq!(fixture.payments.refund_calls().len(), 2, "what has ended is not asked for");
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_at_once_and_the_money_moves_once() {
    let fixture = refunding().await;
    fixture.payments.on_next_refund(OnRefund::LosesAnswer);
    let order = fixture.cancelled().await;
    let held = fixture.late(&order, UnappliedPaymentState::Refunded).await;
    let calls = fixture.payments.refund_calls();
    assert_eq!(calls.len(), 2);
    assert!(calls.iter().all(|call| call.refund_id == held.refund_id));
    assert_eq!(fixture.payments.moved().len(), 1);
    assert_eq!(fixture.told(&order).await, ["held", "given back"]);
}

#[tokio::test]
async fn a_worker_that_stopped_after_its_call_is_followed_by_another() {
    let fixture = refunding().await;
    let (order, held) = in_doubt(&fixture).await;
    // What a process leaves that ends between the call and its record: a lease, and no trace of the answer.
    let leased = "update held_payment set tries = 0, next_try_time = $1 where refund_id = $2";
    let lease_end = fixture.clock.now() + SignedDuration::from_secs(60);
    sqlx::query(leased)
        .bind(jiff_sqlx::ToSqlx::to_sqlx(lease_end))
        .bind(refund(&held).uuid())
        .execute(&fixture.database.pool())
        .await
        .unwrap();
    fixture.clock.advance(SignedDuration::from_secs(59));
    fixture.until_consumed().await;
    assert_eq!(fixture.payments.refund_calls().len(), 1, "the lease is respected");
    fixture.clock.advance(SignedDuration::from_secs(1));
    fixture.until_held(&order, payment(&held), UnappliedPaymentState::Refunded).await;
    let calls = fixture.payments.refund_calls();
    assert_eq!((calls.len(), &calls[0].refund_id), (2, &calls[1].refund_id));
    assert_eq!(fixture.told(&order).await, ["held", "given back"]);
}

#[tokio::test]
async fn while_the_outcome_is_not_known_the_pauses_grow() {
    let fixture = refunding().await;
    let (order, held) = in_doubt(&fixture).await;
    for (tries, pause) in [(1, 2_i64), (2, 4), (3, 8)] {
        fixture.payments.on_next_refund(OnRefund::Breaks);
        let due = fixture.until_tried(&held.refund_id, tries).await;
        let wait = due.duration_since(fixture.clock.now()).as_millis();
        assert!(
            (i128::from(pause) * 750..=i128::from(pause) * 1_000).contains(&wait),
            "{wait} ms of {pause} s"
        );
        fixture.clock.advance(SignedDuration::from_secs(pause));
    }
    assert_eq!(fixture.get(&order).await.unapplied_payments[0], held);
    fixture.until_tried(&held.refund_id, 4).await;
    fixture.clock.advance(LATER);
    fixture.until_held(&order, payment(&held), UnappliedPaymentState::Refunded).await;
}

#[tokio::test]
async fn what_the_channel_refuses_to_give_back_is_held_again_for_a_person() {
    let fixture = refunding().await;
    for (answer, failure) in [(OnRefund::Fails, "DECLINED"), (OnRefund::Exceeds, "REFUND_EXCEEDS_PAYMENT")] {
        fixture.payments.on_next_refund(answer);
        let order = fixture.cancelled().await;
        let held = fixture.late(&order, UnappliedPaymentState::Held).await;
        assert_eq!(held.refund_failure, failure);
        let listed = fixture.list_held(0, "").await.unapplied_payments.remove(0);
        assert_eq!(listed, held);
        assert_eq!(fixture.told(&order).await, ["held"], "it stays in suspense");

        // By another refund; that the first one failed is told late and does not matter.
        fixture.payments.on_next_refund(OnRefund::StaysPending);
        let again =
            fixture.resolve(&order, &held, Action::Refund).await.unwrap().unapplied_payments.remove(0);
        assert_ne!(again.refund_id, held.refund_id);
        assert_eq!((again.state(), again.refund_failure.as_str()), (UnappliedPaymentState::Refunding, ""));
        fixture.payments.log.push_all(fixture.merchant, [refused(&held), refused(&held)]);
        fixture.until_consumed().await;
        assert_eq!(fixture.get(&order).await.unapplied_payments[0], again);
        fixture.until_tried(&again.refund_id, 1).await;
        fixture.clock.advance(LATER);
        let refunded = fixture.until_held(&order, payment(&held), UnappliedPaymentState::Refunded).await;
        assert_eq!(refunded.refund_id, again.refund_id);
        assert_eq!(fixture.told(&order).await, ["held", "given back"]);
    }
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_refusal_told_by_the_event_alone_counts_and_the_order_may_take_the_money_then() {
    let fixture = refunding().await;
    let (order, held) = in_doubt(&fixture).await;
    fixture.payments.log.push_all(fixture.merchant, [refused(&held), refused(&held)]);
    let held = fixture.until_held(&order, payment(&held), UnappliedPaymentState::Held).await;
    assert_eq!(held.refund_failure, "DECLINED");
    let paid = fixture.resolve(&order, &held, Action::Accept).await.unwrap();
    assert_eq!(paid.state(), OrderState::Paid);
    assert_eq!(
        (paid.unapplied_payments[0].refund_id.as_str(), paid.unapplied_payments[0].state()),
        ("", UnappliedPaymentState::Accepted)
    );
    fixture.clock.advance(LATER);
    fixture.until_consumed().await;
    assert_eq!(fixture.payments.refund_calls().len(), 1);
    assert_eq!(fixture.told(&order).await, ["held", "accepted", "paid"]);
}

#[tokio::test]
async fn money_that_moved_after_a_refusal_is_believed_to_have_moved() {
    let fixture = refunding().await;
    let (order, held) = in_doubt(&fixture).await;
    fixture.payments.log.push_all(fixture.merchant, [refused(&held), moved(&order, &held)]);
    let refunded = fixture.until_held(&order, payment(&held), UnappliedPaymentState::Refunded).await;
    assert_eq!(refunded.refund_failure, "");
    assert_eq!(fixture.told(&order).await, ["held", "given back"]);
}

#[tokio::test]
async fn a_reversal_of_held_money_releases_it() {
    let fixture = Fixture::start().await;
    // While it is held, also in the batch that brought it, and told twice.
    let (held, at_once) = (fixture.cancelled().await, fixture.cancelled().await);
    let waiting = fixture.late(&held, UnappliedPaymentState::Held).await;
    let (quick, given_back) = (PaymentId::new(), RefundId::new());
    fixture.payments.log.push_all(
        fixture.merchant,
        [
            reversal(&held, payment(&waiting), given_back),
            reversal(&held, payment(&waiting), given_back),
            reversal(&at_once, quick, RefundId::new()),
            succeeded(&at_once, quick, total(&at_once)),
        ],
    );
    let released = fixture.until_held(&held, payment(&waiting), UnappliedPaymentState::Refunded).await;
    assert_eq!(released.refund_id, given_back.to_string());
    fixture.until_held(&at_once, quick, UnappliedPaymentState::Refunded).await;

    // While it is on its way back: our own refund fails then, for nothing is left.
    fixture.policy(Action::Refund, Action::Refund).await;
    let (order, refunding) = in_doubt(&fixture).await;
    let unasked = RefundId::new();
    fixture.payments.log.push(fixture.merchant, reversal(&order, payment(&refunding), unasked));
    let released = fixture.until_held(&order, payment(&refunding), UnappliedPaymentState::Refunded).await;
    assert_eq!(released.refund_id, unasked.to_string());
    fixture.payments.log.push(fixture.merchant, refused(&refunding));
    fixture.clock.advance(LATER);
    fixture.until_consumed().await;

    for order in [&held, &at_once, &order] {
        let after = fixture.get(order).await;
        assert_eq!((after.state(), after.refunded), (OrderState::Cancelled, Some(cny(0))));
        assert_eq!(after.unapplied_payments[0].state(), UnappliedPaymentState::Refunded);
        assert_eq!(fixture.told(order).await, ["held", "given back"]);
    }
    assert_eq!(fixture.payments.refund_calls().len(), 1);
    assert_eq!(fixture.list_held(0, "").await.unapplied_payments, []);
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn refunds_of_anything_else_change_nothing() {
    let fixture = refunding().await;
    let (order, held) = in_doubt(&fixture).await;
    let paid = fixture.order().await;
    let paid = fixture.pay(&paid).await;
    let of_another = UnappliedPayment { refund_id: RefundId::new().to_string(), ..held.clone() };
    let of_paid = payment_refunded(&paid, paid.payment_id.parse().unwrap(), RefundId::new());
    let events = [refused(&of_another), moved(&order, &of_another), Kind::PaymentRefunded(of_paid)];
    fixture.payments.log.push_all(fixture.merchant, events);
    // Another merchant's event names our refund.
    fixture.payments.log.push(tael_ids::MerchantId::new(), moved(&order, &held));
    fixture.until_consumed().await;
    assert_eq!(fixture.get(&order).await.unapplied_payments, [held]);
    assert_eq!(fixture.get(&paid).await, paid);
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
}
