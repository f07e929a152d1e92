//! Money that comes when its order does not wait for it: what merchants' policies do with it.

use futures::future::join_all;
use jiff::SignedDuration;
use tael_ids::{MerchantId, PaymentId, RefundId};
use tael_proto::event::v1::payload::Kind;
use tael_proto::order::v1::{
    GetLatePaymentPolicyRequest, LatePaymentAction as Action, LatePaymentPolicy, Order, OrderState,
    RefundProgress, SetLatePaymentPolicyRequest, UnappliedPayment, UnappliedPaymentState, UnappliedReason,
};
use tael_testkit::{eventually, keyed, new_key, no_redis_url, redis_url, with_key};
use tonic::Code;

use crate::fixture::{
    Fixture, assert_bad_fields, assert_reason, cny, kind, money, pay_time, refunded, reversal, succeeded,
    total, voucher_line,
};

fn policy(closed_order: Action, overpayment: Action) -> LatePaymentPolicy {
    LatePaymentPolicy { closed_order: closed_order.into(), overpayment: overpayment.into() }
}

async fn in_force(fixture: &Fixture, merchant: MerchantId) -> LatePaymentPolicy {
    let request = GetLatePaymentPolicyRequest { merchant_id: merchant.to_string() };
    fixture.unapplied().get_late_payment_policy(request).await.unwrap().into_inner().policy.unwrap()
}

#[tokio::test]
async fn without_a_policy_all_late_money_is_held_with_its_reason() {
    let fixture = Fixture::start().await;
    let (paid, expired) = (fixture.order().await, fixture.order().await);
    let paid = fixture.pay(&paid).await;
    fixture.clock.advance(SignedDuration::from_hours(1));
    fixture.until_state(&expired, OrderState::Expired).await;
    let (open, cancelled) = (fixture.order().await, fixture.cancelled().await);
    for (order, amount, reason) in [
        (&cancelled, cny(3_000), UnappliedReason::ClosedOrder),
        (&expired, cny(3_000), UnappliedReason::ClosedOrder),
        (&paid, cny(3_000), UnappliedReason::AlreadyPaid),
        (&open, cny(2_999), UnappliedReason::Amount),
        (&paid, cny(3_001), UnappliedReason::Amount),
        (&cancelled, money(3_000, "USD"), UnappliedReason::Amount),
        (&expired, cny(1), UnappliedReason::Amount),
    ] {
        let payment = PaymentId::new();
        fixture.payments.log.push(fixture.merchant, succeeded(order, payment, amount.clone()));
        let held = fixture.until_held(order, payment, UnappliedPaymentState::Held).await;
        assert_eq!((held.amount.as_ref(), held.reason()), (Some(&amount), reason));
        assert!(held.release_time.is_none() && held.refund_id.is_empty() && held.refund_failure.is_empty());
    }
    assert_eq!(fixture.list_held(0, "").await.unapplied_payments.len(), 7);
    assert_eq!(fixture.payments.refund_calls(), []);
}

#[tokio::test]
async fn an_accepting_policy_pays_cancelled_and_expired_orders_after_all() {
    let fixture = Fixture::start().await;
    fixture.policy(Action::Accept, Action::Hold).await;
    let lines = || vec![voucher_line("tasting", 3, cny(1_000))];
    let expired = fixture.create(fixture.request(lines())).await;
    fixture.clock.advance(SignedDuration::from_hours(1));
    fixture.until_state(&expired, OrderState::Expired).await;
    let cancelled = fixture.create(fixture.request(lines())).await;
    fixture.cancel(&cancelled).await.unwrap();

    for order in [expired, cancelled] {
        let payment = PaymentId::new();
        fixture.payments.log.push(fixture.merchant, succeeded(&order, payment, total(&order)));
        let paid = fixture.until_state(&order, OrderState::Paid).await;
        assert_eq!(
            (paid.payment_id.as_str(), paid.pay_time),
            (payment.to_string().as_str(), Some(pay_time()))
        );
        assert_eq!(paid.vouchers[0].uses, 3);
        let [held] = paid.unapplied_payments.as_slice() else { panic!("it passed through being held") };
        assert_eq!(
            (held.state(), held.reason()),
            (UnappliedPaymentState::Accepted, UnappliedReason::ClosedOrder)
        );
        assert!(held.release_time.is_some() && held.refund_id.is_empty());
        assert_eq!(fixture.told(&order).await, ["held", "accepted", "paid"]);
    }
    assert_eq!(fixture.list_held(0, "").await.unapplied_payments, []);
    assert_eq!(fixture.until_events(2, |k| matches!(k, Kind::VoucherIssued(_))).await.len(), 2);
    let events = fixture.until_events(2, |k| matches!(k, Kind::OrderPaymentReleased(_))).await;
    let Kind::OrderPaymentReleased(released) = kind(&events[0]) else { panic!("filtered") };
    assert_eq!((released.amount.clone(), released.accepted), (Some(cny(3_000)), true));
}

#[tokio::test]
async fn an_order_that_took_late_money_is_refunded_as_any_other() {
    let fixture = Fixture::start().await;
    fixture.policy(Action::Accept, Action::Hold).await;
    let (refund, reverse) = (fixture.cancelled().await, fixture.cancelled().await);
    for order in [&refund, &reverse] {
        fixture.late(order, UnappliedPaymentState::Accepted).await;
    }
    let (refund, reverse) = (fixture.get(&refund).await, fixture.get(&reverse).await);
    fixture.refunds.push(fixture.merchant, refunded(&refund, RefundId::new(), cny(3_000), &[]));
    let payment = reverse.payment_id.parse().unwrap();
    fixture.payments.log.push(fixture.merchant, reversal(&reverse, payment, RefundId::new()));
    for order in [&refund, &reverse] {
        let after = fixture.until("the refund", order, |o| o.refund_progress() == RefundProgress::Full).await;
        assert_eq!(after.unapplied_payments[0].state(), UnappliedPaymentState::Accepted);
        assert_eq!(fixture.told(order).await, ["held", "accepted", "paid"]);
    }
}

#[tokio::test]
async fn of_two_late_payments_the_first_is_accepted_and_the_second_is_surplus() {
    let fixture = Fixture::start().await;
    for (overpayment, state) in
        [(Action::Hold, UnappliedPaymentState::Held), (Action::Refund, UnappliedPaymentState::Refunded)]
    {
        fixture.policy(Action::Accept, overpayment).await;
        let (one_batch, two) = (fixture.cancelled().await, fixture.cancelled().await);
        let (first, second) = (PaymentId::new(), PaymentId::new());
        let events = [first, second].map(|payment| succeeded(&one_batch, payment, total(&one_batch)));
        fixture.payments.log.push_all(fixture.merchant, events);
        for payment in [first, second] {
            fixture.payments.log.push(fixture.merchant, succeeded(&two, payment, total(&two)));
        }
        for order in [one_batch, two] {
            fixture.until_held(&order, first, UnappliedPaymentState::Accepted).await;
            let held = fixture.until_held(&order, second, state).await;
            assert_eq!(held.reason(), UnappliedReason::AlreadyPaid);
            let order = fixture.get(&order).await;
            assert_eq!(
                (order.state(), order.payment_id.as_str()),
                (OrderState::Paid, first.to_string().as_str())
            );
            assert_eq!(order.refunded, Some(cny(0)));
        }
    }
    assert_eq!(fixture.payments.moved().len(), 2);
}

#[tokio::test]
async fn another_amount_is_never_accepted() {
    let fixture = Fixture::start().await;
    fixture.policy(Action::Accept, Action::Hold).await;
    let order = fixture.cancelled().await;
    for amount in [cny(2_999), cny(3_001), money(3_000, "USD")] {
        let payment = PaymentId::new();
        fixture.payments.log.push(fixture.merchant, succeeded(&order, payment, amount));
        fixture.until_held(&order, payment, UnappliedPaymentState::Held).await;
    }
    assert_eq!(fixture.get(&order).await.state(), OrderState::Cancelled);
}

#[tokio::test]
async fn what_was_decided_stays_when_the_event_is_told_again_under_another_policy() {
    let fixture = Fixture::start().await;
    let order = fixture.cancelled().await;
    let payment = PaymentId::new();
    let event = succeeded(&order, payment, total(&order));
    fixture.payments.log.push_all(fixture.merchant, [event.clone(), event.clone()]);
    fixture.until_held(&order, payment, UnappliedPaymentState::Held).await;
    for action in [Action::Accept, Action::Refund] {
        fixture.policy(action, Action::Refund).await;
        fixture.payments.log.push(fixture.merchant, event.clone());
        fixture.until_consumed().await;
        let after = fixture.get(&order).await;
        assert_eq!((after.state(), after.unapplied_payments.len()), (OrderState::Cancelled, 1));
        assert_eq!(after.unapplied_payments[0].state(), UnappliedPaymentState::Held);
    }
    // The policy is for what comes from now on.
    fixture.policy(Action::Accept, Action::Hold).await;
    let late = fixture.late(&order, UnappliedPaymentState::Accepted).await;
    let accepted: PaymentId = late.payment_id.parse().unwrap();
    let event = succeeded(&order, accepted, total(&order));
    fixture.payments.log.push_all(fixture.merchant, [event.clone(), event]);
    fixture.until_consumed().await;
    assert_eq!(fixture.told(&order).await, ["held", "held", "accepted", "paid"]);
    assert_eq!(fixture.get(&order).await.unapplied_payments.len(), 2);
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
}

#[tokio::test]
async fn the_policies_of_others_do_not_matter() {
    let fixture = Fixture::start().await;
    let request = SetLatePaymentPolicyRequest {
        merchant_id: MerchantId::new().to_string(),
        policy: Some(policy(Action::Accept, Action::Refund)),
    };
    fixture.unapplied().set_late_payment_policy(keyed(request)).await.unwrap();
    let order = fixture.cancelled().await;
    fixture.late(&order, UnappliedPaymentState::Held).await;
}

#[tokio::test]
async fn a_policy_is_set_and_read() {
    for redis in [redis_url(), no_redis_url()] {
        let fixture = Fixture::with_redis(redis).await;
        assert_eq!(in_force(&fixture, fixture.merchant).await, policy(Action::Hold, Action::Hold));
        let first = SetLatePaymentPolicyRequest {
            merchant_id: fixture.merchant.to_string(),
            policy: Some(policy(Action::Accept, Action::Refund)),
        };
        let key = new_key();
        let answers = join_all((0..50).map(|_| {
            let (mut orders, request) = (fixture.unapplied(), with_key(&key, first.clone()));
            async move { orders.set_late_payment_policy(request).await.unwrap().into_inner().policy }
        }))
        .await;
        assert!(answers.iter().all(|answer| *answer == first.policy));
        assert_eq!(Some(in_force(&fixture, fixture.merchant).await), first.policy);

        fixture.policy(Action::Refund, Action::Hold).await;
        // Told again, the first call is answered as then and sets nothing.
        let again = fixture.unapplied().set_late_payment_policy(with_key(&key, first.clone())).await;
        assert_eq!(again.unwrap().into_inner().policy, first.policy);
        assert_eq!(in_force(&fixture, fixture.merchant).await, policy(Action::Refund, Action::Hold));

        let other = SetLatePaymentPolicyRequest { policy: Some(policy(Action::Hold, Action::Hold)), ..first };
        let status = fixture.unapplied().set_late_payment_policy(with_key(&key, other)).await.unwrap_err();
        assert_reason(&status, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");
    }
}

#[tokio::test]
async fn bad_policies_are_refused() {
    let fixture = Fixture::start().await;
    let known = Some(policy(Action::Hold, Action::Hold));
    let nonsense = Some(LatePaymentPolicy { closed_order: 9, overpayment: -1 });
    let merchant_id = fixture.merchant.to_string();
    for (merchant_id, policy, fields) in [
        (String::new(), None, vec!["merchant_id", "policy"]),
        ("mer_".to_owned(), known, vec!["merchant_id"]),
        (
            merchant_id.clone(),
            Some(LatePaymentPolicy::default()),
            vec!["policy.closed_order", "policy.overpayment"],
        ),
        (merchant_id.clone(), nonsense, vec!["policy.closed_order", "policy.overpayment"]),
        (merchant_id, Some(policy(Action::Accept, Action::Accept)), vec!["policy.overpayment"]),
    ] {
        let request = keyed(SetLatePaymentPolicyRequest { merchant_id, policy });
        let status = fixture.unapplied().set_late_payment_policy(request).await.unwrap_err();
        assert_bad_fields(&status, &fields);
    }
    let request = GetLatePaymentPolicyRequest { merchant_id: "mer_".to_owned() };
    let status = fixture.unapplied().get_late_payment_policy(request).await.unwrap_err();
    assert_bad_fields(&status, &["merchant_id"]);
}

/// Where an order's money is: whether it pays the order, and how much of it is held.
fn money_of(order: &Order) -> (OrderState, Vec<UnappliedPaymentState>) {
    (order.state(), order.unapplied_payments.iter().map(UnappliedPayment::state).collect())
}

#[tokio::test]
async fn money_and_giving_up_end_in_accounted_money_in_either_order_and_at_once() {
    let fixture = Fixture::start().await;
    fixture.policy(Action::Accept, Action::Hold).await;
    // The money first.
    let order = fixture.order().await;
    let paid = fixture.pay(&order).await;
    assert_reason(&fixture.cancel(&order).await.unwrap_err(), Code::FailedPrecondition, "ORDER_STATE");
    assert_eq!(fixture.get(&order).await, paid);
    // The money last.
    let order = fixture.cancelled().await;
    fixture.late(&order, UnappliedPaymentState::Accepted).await;
    // At once, with cancelling and with the expiry: paid either way, by way of being held or not.
    for round in 0..20 {
        let order = fixture.order().await;
        fixture.payments.log.push(fixture.merchant, succeeded(&order, PaymentId::new(), total(&order)));
        if round % 2 == 0 {
            let _either_way = fixture.cancel(&order).await;
        } else {
            fixture.clock.advance(SignedDuration::from_hours(1));
        }
        let accounted =
            [(OrderState::Paid, vec![]), (OrderState::Paid, vec![UnappliedPaymentState::Accepted])];
        let wanted = |order: &Order| accounted.contains(&money_of(order));
        fixture.until("accounted money", &order, wanted).await;
    }
}

#[tokio::test]
async fn money_and_the_expiry_at_once_end_in_paid_or_in_held_never_in_lost() {
    let fixture = Fixture::start().await;
    for _ in 0..20 {
        let order = fixture.order().await;
        fixture.payments.log.push(fixture.merchant, succeeded(&order, PaymentId::new(), total(&order)));
        fixture.clock.advance(SignedDuration::from_hours(1));
        let accounted =
            [(OrderState::Paid, vec![]), (OrderState::Expired, vec![UnappliedPaymentState::Held])];
        eventually("accounted money", async || {
            accounted.contains(&money_of(&fixture.get(&order).await)).then_some(())
        })
        .await;
    }
}
