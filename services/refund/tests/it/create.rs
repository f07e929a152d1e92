//! CreateRefund.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::SignedDuration;
use tael_grpc::status::{bad_fields, reason};
use tael_ids::OrderId;
use tael_proto::order::v1::OrderState;
use tael_proto::refund::v1::{Refund, RefundState};
use tael_testkit::{eventually, keyed, new_key, no_redis_url, with_key};
use tokio::sync::Notify;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, amount, cny, full, line, minor, money, units};
use crate::peers::Answer;

fn metadata(status: &Status, key: &str) -> String {
    status.get_details_error_info().unwrap().metadata[key].clone()
}

#[tokio::test]
async fn a_refund_in_full_is_executed_at_once() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    let refund = fixture.create(&order, full()).await.unwrap();
    assert_eq!(refund.state(), RefundState::Succeeded);
    assert_eq!((refund.amount.clone(), refund.lines.len()), (cny(16_800), 0));
    assert_eq!((&refund.order_id, &refund.payment_id), (&order.order_id, &order.payment_id));
    assert_eq!((refund.reason.as_str(), refund.failure_reason.as_str()), ("wrong size", ""));
    assert_eq!(refund.end_time.unwrap().seconds, fixture.clock.now().as_second());
    assert_eq!(fixture.get(&refund).await, refund);
    assert_eq!(fixture.said().await, ["refund.created", "refund.succeeded"]);
    assert_eq!(fixture.sums().await, (0, 16_800));

    let calls = fixture.payments.calls();
    assert_eq!(calls.len(), 1);
    assert_eq!((&calls[0].refund_id, &calls[0].payment_id), (&refund.refund_id, &order.payment_id));
    assert_eq!((calls[0].amount.clone(), calls[0].reason.as_str()), (cny(16_800), "wrong size"));

    let nothing_left = fixture.create(&order, full()).await.unwrap_err();
    assert_eq!(nothing_left.code(), Code::FailedPrecondition);
    assert_eq!(reason(&nothing_left).as_deref(), Some("REFUND_EXCEEDS_ORDER"));
    assert_eq!(metadata(&nothing_left, "refundable_minor"), "0");
}

#[tokio::test]
async fn units_of_a_line_add_up_to_the_line() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    let mut amounts = Vec::new();
    for _ in 0..3 {
        let refund = fixture.create(&order, units(&order, 0, 1)).await.unwrap();
        assert_eq!(refund.lines[0].line_id, order.lines[0].line_id);
        assert_eq!((refund.lines[0].quantity, refund.lines[0].amount.clone()), (1, refund.amount.clone()));
        amounts.push(minor(&refund));
    }
    assert_eq!(amounts, [3333, 3334, 3333]);
    let fourth = fixture.create(&order, units(&order, 0, 1)).await.unwrap_err();
    assert_eq!(reason(&fourth).as_deref(), Some("REFUND_EXCEEDS_LINE"));
    assert_eq!(metadata(&fourth, "quantity_left"), "0");
    let rest = fixture.create(&order, full()).await.unwrap();
    assert_eq!(minor(&rest), 6_800);
}

#[tokio::test]
async fn a_mixture_respects_the_orders_ceiling() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    fixture.create(&order, amount(10_000)).await.unwrap();
    fixture.create(&order, units(&order, 1, 1)).await.unwrap();
    // 38.00 are left of the order, and the other line alone was worth 100.00.
    let line = fixture.create(&order, units(&order, 0, 3)).await.unwrap_err();
    assert_eq!(reason(&line).as_deref(), Some("REFUND_EXCEEDS_ORDER"));
    assert_eq!(metadata(&line, "refundable_minor"), "3800");
    let too_much = fixture.create(&order, amount(3_801)).await.unwrap_err();
    assert_eq!(reason(&too_much).as_deref(), Some("REFUND_EXCEEDS_ORDER"));
    assert_eq!(minor(&fixture.create(&order, full()).await.unwrap()), 3_800);
    assert_eq!(fixture.sums().await, (0, 16_800));
}

#[tokio::test]
async fn orders_that_cannot_be_refunded_are_refused() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    let refuse = async |order: &_| fixture.create(order, full()).await.unwrap_err();

    let mut unknown = order.clone();
    unknown.order_id = OrderId::new().to_string();
    let status = refuse(&unknown).await;
    assert_eq!((status.code(), reason(&status).as_deref()), (Code::NotFound, Some("ORDER_NOT_FOUND")));

    let mut unpaid = unknown.clone();
    unpaid.set_state(OrderState::PendingPayment);
    fixture.orders.put(unpaid.clone());
    let status = refuse(&unpaid).await;
    assert_eq!(
        (status.code(), reason(&status).as_deref()),
        (Code::FailedPrecondition, Some("ORDER_NOT_PAID"))
    );
    assert_eq!(metadata(&status, "state"), "pending_payment");

    // Another merchant's order is as unknown as one that does not exist.
    let mut stranger = fixture.request(&order, full());
    stranger.merchant_id = tael_ids::MerchantId::new().to_string();
    let status = fixture.refunds.clone().create_refund(keyed(stranger)).await.unwrap_err();
    assert_eq!(reason(&status).as_deref(), Some("ORDER_NOT_FOUND"));

    let dollars = tael_proto::refund::v1::create_refund_request::Scope::Amount(money("USD", 100));
    let status = fixture.create(&order, dollars).await.unwrap_err();
    assert_eq!(
        (status.code(), bad_fields(&status)),
        (Code::InvalidArgument, vec!["amount.currency".to_owned()])
    );

    let mut other = order.clone();
    other.lines = vec![line(1, 100)];
    let status = fixture.create(&order, units(&other, 0, 1)).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["lines.lines[0].line_id"]);

    fixture.clock.advance(SignedDuration::from_hours(24 * 89));
    fixture.create(&order, amount(1)).await.unwrap(); // exactly 90 days after the payment
    fixture.clock.advance(SignedDuration::from_micros(1));
    let status = refuse(&order).await;
    assert_eq!(reason(&status).as_deref(), Some("REFUND_WINDOW_PASSED"));
    assert_eq!(metadata(&status, "window_days"), "90");
    assert_eq!(fixture.payments.calls().len(), 1);
}

#[tokio::test]
async fn a_free_line_is_worth_nothing() {
    let fixture = Fixture::start().await;
    let mut order = fixture.paid_order();
    order.lines.push(line(1, 0));
    fixture.orders.put(order.clone());
    let status = fixture.create(&order, units(&order, 2, 1)).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["lines.lines"]);
}

async fn fifty_identical(fixture: &Fixture) -> Vec<Refund> {
    let order = fixture.paid_order();
    let request = fixture.request(&order, amount(10_000)); // a second one would not fit
    let key = new_key();
    let calls = (0..50).map(|_| {
        let (mut refunds, request) = (fixture.refunds.clone(), with_key(&key, request.clone()));
        async move { refunds.create_refund(request).await.unwrap().into_inner().refund.unwrap() }
    });
    join_all(calls).await
}

#[tokio::test]
async fn fifty_identical_calls_are_one_refund() {
    let fixture = Fixture::start().await;
    let answers = fifty_identical(&fixture).await;
    assert!(answers.iter().all(|refund| *refund == answers[0]));
    assert_eq!(answers[0].state(), RefundState::Succeeded);
    assert_eq!((fixture.count("refund").await, fixture.payments.calls().len()), (1, 1));
    assert_eq!(fixture.sums().await, (0, 10_000));
}

#[tokio::test]
async fn fifty_identical_calls_are_one_refund_without_redis() {
    let fixture = Fixture::with_redis(no_redis_url()).await;
    // The payment service takes its time: the repeated calls have to wait for its answer.
    let gate = Arc::new(Notify::new());
    fixture.payments.next(Answer::Gated(gate.clone(), Box::new(Answer::Succeeded)));
    let open = async {
        eventually("the refund to be asked for", || async { fixture.payments.calls().first().map(|_| ()) })
            .await;
        gate.notify_one();
    };
    let (answers, ()) = tokio::join!(fifty_identical(&fixture), open);
    assert!(answers.iter().all(|refund| *refund == answers[0]), "{answers:?}");
    assert_eq!(answers[0].state(), RefundState::Succeeded);
    assert_eq!((fixture.count("refund").await, fixture.payments.calls().len()), (1, 1));
    assert_eq!(fixture.said().await, ["refund.created", "refund.succeeded"]);
}

#[tokio::test]
async fn fifty_different_refunds_never_exceed_the_order() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    // A third of them by amount, by line, and by an amount that soon no longer fits.
    let calls = (0..50).map(|n| {
        let scope = match n % 3 {
            0 => amount(1_000),
            1 => units(&order, n % 2, 1),
            _ => amount(2_500),
        };
        fixture.create(&order, scope)
    });
    let answers = join_all(calls).await;
    let mut sum = 0;
    for answer in &answers {
        match answer {
            Ok(refund) => sum += minor(refund),
            Err(status) => {
                let reason = reason(status).unwrap();
                assert!(
                    ["REFUND_EXCEEDS_ORDER", "REFUND_EXCEEDS_LINE"].contains(&reason.as_str()),
                    "{status:?}"
                );
            }
        }
    }
    assert!(sum <= 16_800 && sum > 16_800 - 1_000, "refunded {sum}");
    assert_eq!(fixture.sums().await, (0, sum));
    let told: i64 = fixture.payments.calls().iter().map(|c| c.amount.as_ref().unwrap().minor).sum();
    assert_eq!(told, sum);
}

/// Whether a call is to be made again under its key: it was not taken, or its end is not known.
fn says_nothing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded | Code::Aborted
    )
}

#[tokio::test]
async fn of_a_thousand_refunds_at_once_exactly_the_ten_that_fit_succeed() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    let tenth = 16_800 / 10;
    // A server that has enough to do refuses before it does anything; then the same call is made again, but not at once:
    // refusing would be all it does.
    let calls = (0..1000).map(|_| {
        let (mut refunds, request, key) =
            (fixture.refunds.clone(), fixture.request(&order, amount(tenth)), new_key());
        async move {
            loop {
                match refunds.create_refund(with_key(&key, request.clone())).await {
                    Err(status) if says_nothing(&status) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    answer => break answer.map(|a| a.into_inner().refund.unwrap()),
                }
            }
        }
    });
    let answers = join_all(calls).await;
    let (refunds, refusals): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(refunds.len(), 10);
    for refusal in refusals {
        assert_eq!(reason(&refusal.unwrap_err()).as_deref(), Some("REFUND_EXCEEDS_ORDER"));
    }
    // One whose outcome found no place to be recorded is asked for again, under its own id, when its lease has ended.
    fixture.clock.advance(SignedDuration::from_mins(1));
    eventually("the ten to succeed", || async { (fixture.sums().await == (0, 16_800)).then_some(()) }).await;
    let told: HashSet<String> = fixture.payments.calls().into_iter().map(|call| call.refund_id).collect();
    assert_eq!(told.len(), 10);
}

#[tokio::test]
async fn a_key_is_for_one_request() {
    for redis in [tael_testkit::redis_url(), no_redis_url()] {
        let fixture = Fixture::with_redis(redis).await;
        let (order, other) = (fixture.paid_order(), fixture.paid_order());
        let key = new_key();
        let create = async |request| fixture.refunds.clone().create_refund(with_key(&key, request)).await;
        create(fixture.request(&order, amount(100))).await.unwrap();
        for request in [fixture.request(&order, amount(101)), fixture.request(&other, amount(100))] {
            let status = create(request).await.unwrap_err();
            assert_eq!(status.code(), Code::AlreadyExists);
            assert_eq!(reason(&status).as_deref(), Some("IDEMPOTENCY_KEY_REUSED"));
        }
        assert_eq!(fixture.count("refund").await, 1);
    }
}

#[tokio::test]
async fn a_repeated_call_is_answered_although_the_window_has_passed() {
    let fixture = Fixture::with_redis(no_redis_url()).await;
    let order = fixture.paid_order();
    let (key, request) = (new_key(), fixture.request(&order, full()));
    let create = async || fixture.refunds.clone().create_refund(with_key(&key, request.clone())).await;
    let first = create().await.unwrap().into_inner();
    fixture.clock.advance(SignedDuration::from_hours(24 * 365));
    assert_eq!(create().await.unwrap().into_inner(), first);
}
