//! Held money: listed, and decided about by people.

use futures::future::join_all;
use tael_ids::{MerchantId, OrderId, PaymentId};
use tael_proto::order::v1::{
    LatePaymentAction as Action, ListUnappliedPaymentsRequest, Order, OrderState,
    ResolveUnappliedPaymentRequest, UnappliedPaymentState, UnappliedReason,
};
use tael_testkit::{keyed, new_key, no_redis_url, redis_url, with_key};
use tonic::{Code, Status};

use crate::fixture::{Fixture, assert_bad_fields, assert_reason, cny, succeeded, total, voucher_line};
use crate::peers::OnRefund;

const STATE: &str = "UNAPPLIED_PAYMENT_STATE";

#[tokio::test]
async fn held_money_is_listed_newest_first_page_by_page_until_its_end() {
    let fixture = Fixture::start().await;
    let mut held = Vec::new();
    for _ in 0..5 {
        let order = fixture.cancelled().await;
        held.push((order.clone(), fixture.late(&order, UnappliedPaymentState::Held).await));
    }
    fixture.resolve(&held[0].0, &held[0].1, Action::Accept).await.unwrap();
    // What is on its way back is listed as well.
    fixture.payments.on_next_refund(OnRefund::StaysPending);
    fixture.resolve(&held[3].0, &held[3].1, Action::Refund).await.unwrap();

    let expected: Vec<_> =
        held[1..].iter().rev().map(|(o, h)| (o.order_id.clone(), h.payment_id.clone())).collect();
    let first = fixture.list_held(3, "").await;
    let second = fixture.list_held(3, &first.next_page_token).await;
    assert_eq!(second.next_page_token, "");
    let listed: Vec<_> = first.unapplied_payments.into_iter().chain(second.unapplied_payments).collect();
    let keys: Vec<_> = listed.iter().map(|l| (l.order_id.clone(), l.payment_id.clone())).collect();
    assert_eq!(keys, expected);
    assert_eq!(listed[1].state(), UnappliedPaymentState::Refunding);
    for (order, listed) in held[1..].iter().rev().zip(listed) {
        assert_eq!(fixture.get(&order.0).await.unapplied_payments, [listed]);
    }

    let list = |merchant_id: String, page_size, page_token: &str| {
        let page_token = page_token.to_owned();
        let request = ListUnappliedPaymentsRequest { merchant_id, page_size, page_token };
        let mut orders = fixture.unapplied();
        async move { Ok::<_, Status>(orders.list_unapplied_payments(request).await?.into_inner()) }
    };
    let stranger = MerchantId::new().to_string();
    assert_eq!(list(stranger.clone(), 0, "").await.unwrap().unapplied_payments, []);
    let foreign = list(stranger, 0, &first.next_page_token).await.unwrap_err();
    assert_bad_fields(&foreign, &["page_token"]);
    assert_bad_fields(
        &list("mer_".into(), 101, "x").await.unwrap_err(),
        &["merchant_id", "page_size", "page_token"],
    );
}

#[tokio::test]
async fn a_person_has_the_order_take_held_money() {
    let fixture = Fixture::start().await;
    let order = fixture.create(fixture.request(vec![voucher_line("tasting", 2, cny(1_500))])).await;
    fixture.cancel(&order).await.unwrap();
    let (held, surplus) = (
        fixture.late(&order, UnappliedPaymentState::Held).await,
        fixture.late(&order, UnappliedPaymentState::Held).await,
    );
    assert_eq!(
        (held.reason(), surplus.reason()),
        (UnappliedReason::ClosedOrder, UnappliedReason::ClosedOrder)
    );

    let paid = fixture.resolve(&order, &held, Action::Accept).await.unwrap();
    assert_eq!((paid.state(), &paid.payment_id), (OrderState::Paid, &held.payment_id));
    assert_eq!((paid.vouchers.len(), paid.pay_time), (1, Some(crate::fixture::pay_time())));
    assert_eq!(paid.unapplied_payments[0].state(), UnappliedPaymentState::Accepted);
    assert!(paid.unapplied_payments[0].release_time.is_some());
    assert_eq!(fixture.told(&order).await, ["held", "held", "accepted", "paid"]);

    assert_eq!(fixture.resolve(&order, &held, Action::Accept).await.unwrap(), paid, "again changes nothing");
    let refund = fixture.resolve(&order, &held, Action::Refund).await.unwrap_err();
    assert_reason(&refund, Code::FailedPrecondition, STATE);
    // The order is paid by now: the other payment can only go back.
    let accept = fixture.resolve(&order, &surplus, Action::Accept).await.unwrap_err();
    assert_reason(&accept, Code::FailedPrecondition, STATE);
    fixture.resolve(&order, &surplus, Action::Refund).await.unwrap();
    fixture.until_held(&order, surplus.payment_id.parse().unwrap(), UnappliedPaymentState::Refunded).await;
    assert_eq!(fixture.get(&order).await.refunded, Some(cny(0)));
    assert_eq!(fixture.told(&order).await, ["held", "held", "accepted", "paid", "given back"]);
}

#[tokio::test]
async fn a_person_gives_held_money_back() {
    let fixture = Fixture::start().await;
    let order = fixture.cancelled().await;
    let held = fixture.late(&order, UnappliedPaymentState::Held).await;
    fixture.payments.on_next_refund(OnRefund::StaysPending);
    let after = fixture.resolve(&order, &held, Action::Refund).await.unwrap();
    let refunding = after.unapplied_payments[0].clone();
    assert_eq!(refunding.state(), UnappliedPaymentState::Refunding);
    let again = fixture.resolve(&order, &held, Action::Refund).await.unwrap();
    assert_eq!(again.unapplied_payments[0], refunding, "again changes nothing");
    let accept = fixture.resolve(&order, &held, Action::Accept).await.unwrap_err();
    assert_reason(&accept, Code::FailedPrecondition, STATE);

    fixture.until_tried(&refunding.refund_id, 1).await;
    fixture.clock.advance(jiff::SignedDuration::from_mins(5));
    let refunded =
        fixture.until_held(&order, held.payment_id.parse().unwrap(), UnappliedPaymentState::Refunded).await;
    assert_eq!(refunded.refund_id, refunding.refund_id);
    let again = fixture.resolve(&order, &held, Action::Refund).await.unwrap();
    assert_eq!((again.state(), again.unapplied_payments), (OrderState::Cancelled, vec![refunded]));
    let accept = fixture.resolve(&order, &held, Action::Accept).await.unwrap_err();
    assert_reason(&accept, Code::FailedPrecondition, STATE);
    assert_eq!(fixture.payments.moved().len(), 1);
}

#[tokio::test]
async fn money_that_is_not_the_total_is_not_accepted() {
    let fixture = Fixture::start().await;
    let (open, cancelled) = (fixture.order().await, fixture.cancelled().await);
    for order in [open, cancelled] {
        let payment = PaymentId::new();
        fixture.payments.log.push(fixture.merchant, succeeded(&order, payment, cny(1)));
        let held = fixture.until_held(&order, payment, UnappliedPaymentState::Held).await;
        let status = fixture.resolve(&order, &held, Action::Accept).await.unwrap_err();
        assert_reason(&status, Code::FailedPrecondition, STATE);
        assert_eq!(fixture.get(&order).await.state(), order.state());
    }
}

#[tokio::test]
async fn unknown_money_that_of_others_and_malformed_requests() {
    let fixture = Fixture::start().await;
    let (order, other) = (fixture.cancelled().await, fixture.cancelled().await);
    let held = fixture.late(&order, UnappliedPaymentState::Held).await;
    let request = fixture.resolution(&order, &held, Action::Accept);
    let resolve = async |request: ResolveUnappliedPaymentRequest| {
        fixture.unapplied().resolve_unapplied_payment(keyed(request)).await.unwrap_err()
    };
    let (unknown_order, stranger) = (OrderId::new().to_string(), MerchantId::new().to_string());
    for bad in [
        ResolveUnappliedPaymentRequest { order_id: unknown_order, ..request.clone() },
        ResolveUnappliedPaymentRequest { merchant_id: stranger, ..request.clone() },
    ] {
        assert_reason(&resolve(bad).await, Code::NotFound, "ORDER_NOT_FOUND");
    }
    for bad in [
        ResolveUnappliedPaymentRequest { payment_id: PaymentId::new().to_string(), ..request.clone() },
        ResolveUnappliedPaymentRequest { order_id: other.order_id, ..request.clone() },
    ] {
        assert_reason(&resolve(bad).await, Code::NotFound, "UNAPPLIED_PAYMENT_NOT_FOUND");
    }
    let all = ["merchant_id", "order_id", "payment_id", "action", "operator"];
    assert_bad_fields(&resolve(ResolveUnappliedPaymentRequest::default()).await, &all);
    for action in [Action::Hold as i32, 9] {
        let bad = ResolveUnappliedPaymentRequest { action, operator: "x".repeat(65), ..request.clone() };
        assert_bad_fields(&resolve(bad).await, &["action", "operator"]);
    }
    let keyless = fixture.unapplied().resolve_unapplied_payment(request).await.unwrap_err();
    assert_eq!(keyless.code(), Code::InvalidArgument);
    assert_eq!(fixture.get(&order).await.unapplied_payments, [held]);
}

#[tokio::test]
async fn fifty_decisions_at_once_are_one() {
    for redis in [redis_url(), no_redis_url()] {
        let fixture = Fixture::with_redis(redis).await;
        for action in [Action::Accept, Action::Refund] {
            let order = fixture.cancelled().await;
            let held = fixture.late(&order, UnappliedPaymentState::Held).await;
            let key = new_key();
            // Half of the calls are one call told again, the others are calls of their own.
            let answers = join_all((0..50).map(|at| {
                let request = fixture.resolution(&order, &held, action);
                let request = if at % 2 == 0 { with_key(&key, request) } else { keyed(request) };
                let mut orders = fixture.unapplied();
                async move {
                    orders
                        .resolve_unapplied_payment(request)
                        .await
                        .unwrap()
                        .into_inner()
                        .unapplied_payment
                        .unwrap()
                }
            }))
            .await;
            let end = if action == Action::Accept {
                UnappliedPaymentState::Accepted
            } else {
                UnappliedPaymentState::Refunded
            };
            let end = fixture.until_held(&order, held.payment_id.parse().unwrap(), end).await;
            assert!(answers.iter().all(|payment| payment.refund_id == end.refund_id));
            let told: &[&str] = if action == Action::Accept {
                &["held", "accepted", "paid"]
            } else {
                &["held", "given back"]
            };
            assert_eq!(fixture.told(&order).await, told);
        }
        assert_eq!(fixture.payments.moved().len(), 1);
    }
}

#[tokio::test]
async fn of_contrary_decisions_at_once_one_is_taken() {
    let fixture = Fixture::start().await;
    let order = fixture.cancelled().await;
    let held = fixture.late(&order, UnappliedPaymentState::Held).await;
    let answers = join_all((0..50).map(|at| {
        let action = if at % 2 == 0 { Action::Accept } else { Action::Refund };
        let (fixture, order, held) = (&fixture, &order, &held);
        async move { (action, fixture.resolve(order, held, action).await) }
    }))
    .await;
    let taken = answers.iter().find(|(_, answer)| answer.is_ok()).unwrap().0;
    for (action, answer) in &answers {
        match answer {
            Ok(_) => assert_eq!(*action, taken),
            Err(status) => {
                assert_ne!(*action, taken);
                assert_reason(status, Code::FailedPrecondition, STATE);
            }
        }
    }
    let state = if taken == Action::Accept {
        UnappliedPaymentState::Accepted
    } else {
        UnappliedPaymentState::Refunded
    };
    fixture.until_held(&order, held.payment_id.parse().unwrap(), state).await;
    assert_eq!(fixture.told(&order).await.iter().filter(|told| **told != "paid").count(), 2);
}

/// What the version before this one inserts.
async fn hold_as_before(fixture: &Fixture, order: &Order, payment: PaymentId, minor: i64) {
    let (merchant, id): (MerchantId, OrderId) = (fixture.merchant, order.order_id.parse().unwrap());
    sqlx::query(
        "insert into held_payment (merchant_id, order_id, payment_id, currency, amount_minor, hold_time)
         values ($1, $2, $3, 'CNY', $4, '2026-11-20T08:00:00Z')",
    )
    .bind(merchant.uuid())
    .bind(id.uuid())
    .bind(payment.uuid())
    .bind(minor)
    .execute(&fixture.database.pool())
    .await
    .unwrap();
}

#[tokio::test]
async fn what_the_version_before_held_has_a_reason_and_is_decided_about() {
    let fixture = Fixture::start().await;
    let (open, cancelled) = (fixture.order().await, fixture.cancelled().await);
    let paid = fixture.order().await;
    fixture.pay(&paid).await;
    for (order, minor, reason) in [
        (&cancelled, 3_000, UnappliedReason::ClosedOrder),
        (&cancelled, 1, UnappliedReason::Amount),
        (&paid, 3_000, UnappliedReason::AlreadyPaid),
        (&paid, 1, UnappliedReason::Amount),
        (&open, 1, UnappliedReason::Amount),
    ] {
        let payment = PaymentId::new();
        hold_as_before(&fixture, order, payment, minor).await;
        assert_eq!(fixture.until_held(order, payment, UnappliedPaymentState::Held).await.reason(), reason);
    }
    let held = fixture.get(&cancelled).await.unapplied_payments.remove(0);
    let accepted = fixture.resolve(&cancelled, &held, Action::Accept).await.unwrap();
    // When the payer paid was not kept.
    assert_eq!((accepted.state(), accepted.pay_time), (OrderState::Paid, held.hold_time));
}

#[tokio::test]
async fn the_database_refuses_a_second_acceptance_and_ways_that_do_not_exist() {
    let fixture = Fixture::start().await;
    fixture.policy(Action::Accept, Action::Hold).await;
    let order = fixture.cancelled().await;
    fixture.late(&order, UnappliedPaymentState::Accepted).await;
    let payment = PaymentId::new();
    fixture.payments.log.push(fixture.merchant, succeeded(&order, payment, total(&order)));
    fixture.until_held(&order, payment, UnappliedPaymentState::Held).await;
    for (set, constraint) in [
        ("state = 'accepted', reason = 'closed_order', release_time = now()", "held_payment_accepted"),
        ("state = 'accepted', release_time = now()", "held_payment_way"),
        ("state = 'refunding'", "held_payment_way"),
        ("state = 'refunded', release_time = now()", "held_payment_way"),
        ("refund_failure = 'DECLINED'", "held_payment_way"),
        ("next_try_time = now()", "held_payment_way"),
    ] {
        let sql = format!("update held_payment set {set} where payment_id = $1");
        let refused = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(payment.uuid())
            .execute(&fixture.database.pool())
            .await
            .unwrap_err();
        assert_eq!(tael_postgres::violated_constraint(&refused), Some(constraint), "{set}");
    }
}
