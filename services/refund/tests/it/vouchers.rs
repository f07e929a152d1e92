//! Uses of vouchers are set aside before a refund that covers them can move money.

use jiff::SignedDuration;
use tael_grpc::status::{self, reason};
use tael_proto::order::v1::{ErrorReason, PayableOrder, ReserveVoucherUsesResponse};
use tael_proto::refund::v1::{ApproveRefundRequest, Refund, RefundState, RejectRefundRequest};
use tael_testkit::{Answer as Scripted, eventually, keyed, new_key, no_redis_url, with_key};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, amount, full, minor, units};
use crate::peers::RESERVE;

fn used(line_id: &str) -> Status {
    status::error(
        Code::FailedPrecondition,
        "tael.order",
        ErrorReason::VoucherUsed.as_str_name(),
        "units were used",
        [("line_id", line_id.to_owned()), ("used", "2".to_owned())],
    )
}

/// From now on the order service says that 2 units of the line were used.
fn says_used(fixture: &Fixture, order: &PayableOrder) {
    fixture.orders.server.on(RESERVE, Scripted::refusal(used(&order.lines[1].line_id)));
}

async fn becomes(fixture: &Fixture, refund: &Refund, state: RefundState) -> Refund {
    eventually("the refund to move", || async {
        let now = fixture.get(refund).await;
        (now.state() == state).then_some(now)
    })
    .await
}

async fn approve(fixture: &Fixture, refund: &Refund) -> Result<Refund, Status> {
    let request = ApproveRefundRequest {
        merchant_id: refund.merchant_id.clone(),
        refund_id: refund.refund_id.clone(),
        operator: "mei".to_owned(),
    };
    fixture.refunds.clone().approve_refund(keyed(request)).await.map(|r| r.into_inner().refund.unwrap())
}

#[tokio::test]
async fn uses_are_set_aside_for_what_covers_vouchers_and_only_for_that() {
    let fixture = Fixture::start().await;
    let order = fixture.voucher_order();
    // Neither a line that is shipped nor a part of the money touches the voucher.
    fixture.create(&order, units(&order, 0, 1)).await.unwrap();
    fixture.create(&order, amount(1)).await.unwrap();
    assert!(fixture.orders.reservations().is_empty());

    let refund = fixture.create(&order, units(&order, 1, 1)).await.unwrap();
    assert_eq!(refund.state(), RefundState::Succeeded);
    let asked = fixture.orders.reservations().remove(0);
    assert_eq!((asked.refund_id, asked.order_id), (refund.refund_id, order.order_id.clone()));
    assert_eq!(
        (asked.lines[0].line_id.as_str(), asked.lines[0].quantity),
        (order.lines[1].line_id.as_str(), 1)
    );
    assert_eq!((asked.everything, asked.force_reason.as_str()), (false, ""));

    // All that is left is of every line.
    let rest = fixture.create(&order, full()).await.unwrap();
    let asked = fixture.orders.reservations().remove(1);
    assert_eq!((asked.refund_id, asked.everything, asked.lines.len()), (rest.refund_id, true, 0));
}

#[tokio::test]
async fn units_that_were_used_are_refunded_only_with_a_reason() {
    for redis in [tael_testkit::redis_url(), no_redis_url()] {
        let fixture = Fixture::with_redis(redis).await;
        let order = fixture.voucher_order();
        says_used(&fixture, &order);
        let (key, request) = (new_key(), fixture.request(&order, units(&order, 1, 2)));
        let create = async || fixture.refunds.clone().create_refund(with_key(&key, request.clone())).await;
        let refused = create().await.unwrap_err();
        assert_eq!(
            (refused.code(), reason(&refused).as_deref()),
            (Code::FailedPrecondition, Some("VOUCHER_USED"))
        );
        let metadata = refused.get_details_error_info().unwrap().metadata;
        assert_eq!(
            (metadata["line_id"].as_str(), metadata["used"].as_str()),
            (order.lines[1].line_id.as_str(), "2")
        );
        // The same call is refused again, and no money moves; what it took is given back.
        assert_eq!(reason(&create().await.unwrap_err()).as_deref(), Some("VOUCHER_USED"));
        assert_eq!((fixture.sums().await, fixture.payments.calls().len()), ((0, 0), 0));
        assert_eq!(fixture.said().await, ["refund.created", "refund.failed"]);

        fixture.orders.server.on(RESERVE, Scripted::of(&ReserveVoucherUsesResponse::default()));
        let mut forced = request.clone();
        forced.force_reason = "the show was cancelled".to_owned();
        let refund =
            fixture.refunds.clone().create_refund(keyed(forced)).await.unwrap().into_inner().refund.unwrap();
        assert_eq!((refund.state(), minor(&refund)), (RefundState::Succeeded, 6_000));
        assert_eq!(refund.force_reason, "the show was cancelled");
        assert_eq!(fixture.orders.reservations().pop().unwrap().force_reason, "the show was cancelled");
    }
}

#[tokio::test]
async fn no_money_moves_until_the_order_service_has_answered() {
    let fixture = Fixture::start().await;
    let order = fixture.voucher_order();
    fixture.orders.server.on(RESERVE, Scripted::refusal(Status::internal("?")));
    let refund = fixture.create(&order, units(&order, 1, 1)).await.unwrap();
    assert_eq!((refund.state(), fixture.payments.calls().len()), (RefundState::Processing, 0));
    // It is asked again under the same id, and again nothing moves.
    fixture.clock.advance(SignedDuration::from_secs(16));
    eventually("the order service to be asked again", || async {
        (fixture.orders.reservations().len() >= 2).then_some(())
    })
    .await;
    assert_eq!(fixture.payments.calls().len(), 0);
    fixture.orders.server.on(RESERVE, Scripted::of(&ReserveVoucherUsesResponse::default()));
    fixture.clock.advance(SignedDuration::from_secs(60));
    becomes(&fixture, &refund, RefundState::Succeeded).await;
    let asked = fixture.orders.reservations();
    assert!(asked.iter().all(|request| *request == asked[0]), "{asked:?}");
    assert_eq!((fixture.payments.calls().len(), fixture.sums().await), (1, (0, 3_000)));
}

#[tokio::test]
async fn a_refusal_that_comes_late_fails_the_refund() {
    let fixture = Fixture::start().await;
    let order = fixture.voucher_order();
    fixture.orders.server.on(RESERVE, Scripted::refusal(Status::internal("?")));
    let refund = fixture.create(&order, units(&order, 1, 1)).await.unwrap();
    says_used(&fixture, &order);
    fixture.clock.advance(SignedDuration::from_secs(16));
    let failed = becomes(&fixture, &refund, RefundState::Failed).await;
    assert_eq!(failed.failure_reason, "VOUCHER_USED");
    assert_eq!((fixture.sums().await, fixture.payments.calls().len()), ((0, 0), 0));
}

#[tokio::test]
async fn what_awaits_approval_has_its_uses_set_aside() {
    let fixture = Fixture::start().await;
    fixture.limit(0).await;
    let order = fixture.voucher_order();
    let refund = fixture.create(&order, units(&order, 1, 1)).await.unwrap();
    assert_eq!((refund.state(), fixture.orders.reservations().len()), (RefundState::PendingApproval, 1));
    assert_eq!(approve(&fixture, &refund).await.unwrap().state(), RefundState::Succeeded);
    assert_eq!(fixture.orders.reservations().len(), 1);

    // Where the order service did not answer the worker asks again, also without a decision.
    fixture.orders.server.on(RESERVE, Scripted::refusal(Status::internal("?")));
    let refund = fixture.create(&order, units(&order, 1, 1)).await.unwrap();
    let early = approve(&fixture, &refund).await.unwrap_err();
    assert_eq!(early.code(), Code::Unavailable);
    assert_eq!(fixture.get(&refund).await.state(), RefundState::PendingApproval);
    says_used(&fixture, &order);
    fixture.clock.advance(SignedDuration::from_secs(16));
    becomes(&fixture, &refund, RefundState::Failed).await;
    assert_eq!(fixture.payments.calls().len(), 1);
}

#[tokio::test]
async fn a_rejection_tells_the_order_service_by_the_log() {
    let fixture = Fixture::start().await;
    fixture.limit(0).await;
    let order = fixture.voucher_order();
    let refund = fixture.create(&order, units(&order, 1, 2)).await.unwrap();
    let reject = RejectRefundRequest {
        merchant_id: refund.merchant_id.clone(),
        refund_id: refund.refund_id.clone(),
        operator: "mei".to_owned(),
    };
    fixture.refunds.clone().reject_refund(keyed(reject)).await.unwrap();
    assert_eq!(fixture.said().await, ["refund.created", "refund.failed"]);
}

#[tokio::test]
async fn a_crash_before_the_answer_is_recorded_asks_again() {
    let mut fixture = Fixture::start().await;
    let order = fixture.voucher_order();
    let slow = Scripted::hang();
    fixture.orders.server.on(RESERVE, slow);
    let call = {
        let (mut refunds, request) =
            (fixture.refunds.clone(), keyed(fixture.request(&order, units(&order, 1, 1))));
        tokio::spawn(async move { refunds.create_refund(request).await })
    };
    eventually("the order service to be asked", || async {
        (!fixture.orders.reservations().is_empty()).then_some(())
    })
    .await;
    fixture.crash().await;
    call.abort();
    fixture.orders.server.on(RESERVE, Scripted::of(&ReserveVoucherUsesResponse::default()));
    fixture.clock.advance(SignedDuration::from_secs(61));
    eventually("the refund to succeed", || async { (fixture.sums().await == (0, 3_000)).then_some(()) })
        .await;
    let asked = fixture.orders.reservations();
    assert!(asked.len() >= 2 && asked.iter().all(|request| *request == asked[0]));
    assert_eq!(fixture.payments.calls().len(), 1);
}
