//! Uses of vouchers that are set aside for refunds: none is both redeemed and refunded.

use futures::future::join_all;
use tael_ids::{LineId, MerchantId, OrderId, RefundId};
use tael_proto::event::v1::RefundFailed;
use tael_proto::event::v1::payload::Kind;
use tael_proto::order::v1::{
    Order, RedeemVoucherRequest, RefundedUnits, ReleaseVoucherUsesRequest, ReserveVoucherUsesRequest,
    ReservedUses, Voucher, VoucherReservation, VoucherReservationState as State,
};
use tael_testkit::keyed;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, assert_bad_fields, assert_reason, cny, line, refunded, voucher_line};

/// A paid order with a voucher of so many uses.
async fn paid(fixture: &Fixture, uses: u32) -> Order {
    let order = fixture.create(fixture.request(vec![voucher_line("tasting", uses, cny(100))])).await;
    fixture.pay(&order).await
}

/// A refund of so many units of the order's first line.
fn units(order: &Order, refund: RefundId, quantity: u32) -> ReserveVoucherUsesRequest {
    ReserveVoucherUsesRequest {
        merchant_id: order.merchant_id.clone(),
        order_id: order.order_id.clone(),
        refund_id: refund.to_string(),
        lines: vec![RefundedUnits { line_id: order.lines[0].line_id.clone(), quantity }],
        everything: false,
        force_reason: String::new(),
    }
}

/// A refund of all that is left.
fn everything(order: &Order, refund: RefundId) -> ReserveVoucherUsesRequest {
    ReserveVoucherUsesRequest { lines: Vec::new(), everything: true, ..units(order, refund, 1) }
}

fn forced(request: ReserveVoucherUsesRequest) -> ReserveVoucherUsesRequest {
    ReserveVoucherUsesRequest { force_reason: "the tasting was spoilt".to_owned(), ..request }
}

async fn reserve(
    fixture: &Fixture,
    request: ReserveVoucherUsesRequest,
) -> Result<VoucherReservation, Status> {
    let answer = fixture.vouchers().reserve_voucher_uses(request).await?.into_inner();
    Ok(answer.reservation.unwrap())
}

async fn release(fixture: &Fixture, order: &Order, refund: RefundId) -> Result<VoucherReservation, Status> {
    let request = ReleaseVoucherUsesRequest {
        merchant_id: order.merchant_id.clone(),
        order_id: order.order_id.clone(),
        refund_id: refund.to_string(),
    };
    Ok(fixture.vouchers().release_voucher_uses(request).await?.into_inner().reservation.unwrap())
}

async fn redeem(fixture: &Fixture, voucher: &Voucher, count: u32) -> Result<Voucher, Status> {
    let request = RedeemVoucherRequest {
        merchant_id: fixture.merchant.to_string(),
        code: voucher.code.clone(),
        count,
        terminal: "till-1".into(),
        operator: "Li".into(),
    };
    Ok(fixture.vouchers().redeem_voucher(keyed(request)).await?.into_inner().voucher.unwrap())
}

fn failed(order: &Order, refund: RefundId) -> Kind {
    Kind::RefundFailed(RefundFailed {
        refund_id: refund.to_string(),
        order_id: order.order_id.clone(),
        payment_id: order.payment_id.clone(),
        amount: Some(cny(100)),
        reason: "DECLINED".to_owned(),
    })
}

/// Redeemed, reserved, voided.
fn counters(voucher: &Voucher) -> (u32, u32, u32) {
    (voucher.redeemed, voucher.reserved, voucher.voided)
}

async fn until_counters(fixture: &Fixture, order: &Order, wanted: (u32, u32, u32)) {
    fixture.until(&format!("{wanted:?}"), order, |order| counters(&order.vouchers[0]) == wanted).await;
}

#[tokio::test]
async fn uses_are_set_aside_while_a_refund_is_pending_and_come_back_when_it_fails() {
    let fixture = Fixture::start().await;
    let order = paid(&fixture, 3).await;
    let voucher = &order.vouchers[0];
    let refund = RefundId::new();
    let reservation = reserve(&fixture, units(&order, refund, 2)).await.unwrap();
    assert_eq!(reservation.state(), State::Reserved);
    let (voucher_id, line_id) = (voucher.voucher_id.clone(), voucher.line_id.clone());
    assert_eq!(reservation.uses, [ReservedUses { voucher_id, line_id, uses: 2, used: 0 }]);
    assert_eq!(counters(&fixture.voucher(&voucher.code).await.unwrap()), (0, 2, 0));

    let refused = redeem(&fixture, voucher, 2).await.unwrap_err();
    assert_reason(&refused, Code::FailedPrecondition, "VOUCHER_USED_UP");
    assert_eq!(refused.get_details_error_info().unwrap().metadata["uses_left"], "1");
    assert_eq!(counters(&redeem(&fixture, voucher, 1).await.unwrap()), (1, 2, 0));

    fixture.refunds.push(fixture.merchant, failed(&order, refund));
    until_counters(&fixture, &order, (1, 0, 0)).await;
    assert_eq!(counters(&redeem(&fixture, voucher, 2).await.unwrap()), (3, 0, 0));
    // What was told of before stays told of, however often the event comes.
    fixture.refunds.push_all(fixture.merchant, [failed(&order, refund), failed(&order, RefundId::new())]);
    fixture.until_consumed().await;
    assert_eq!(counters(&fixture.voucher(&voucher.code).await.unwrap()), (3, 0, 0));
}

#[tokio::test]
async fn a_refund_that_succeeds_takes_back_what_was_set_aside_for_it_and_no_more() {
    let fixture = Fixture::start().await;
    let order = paid(&fixture, 5).await;
    let (first, second) = (RefundId::new(), RefundId::new());
    reserve(&fixture, units(&order, first, 1)).await.unwrap();
    reserve(&fixture, units(&order, second, 2)).await.unwrap();
    until_counters(&fixture, &order, (0, 3, 0)).await;
    let line = order.lines[0].line_id.as_str();
    fixture.refunds.push(fixture.merchant, refunded(&order, first, cny(100), &[(line, 1)]));
    until_counters(&fixture, &order, (0, 2, 1)).await;
    let again = reserve(&fixture, units(&order, first, 1)).await.unwrap();
    assert_eq!(
        (again.state(), again.uses[0].uses),
        (State::TakenBack, 1),
        "a repeated call is told how it ended"
    );
    assert_reason(
        &release(&fixture, &order, first).await.unwrap_err(),
        Code::FailedPrecondition,
        "VOUCHER_RESERVATION_STATE",
    );
    // The rest goes at once, while the second is still pending; that one keeps what is its own.
    let third = RefundId::new();
    let rest = reserve(&fixture, everything(&order, third)).await.unwrap();
    assert_eq!(rest.uses[0].uses, 2);
    fixture.refunds.push(fixture.merchant, refunded(&order, third, cny(200), &[]));
    until_counters(&fixture, &order, (0, 2, 3)).await;
    fixture.refunds.push(fixture.merchant, refunded(&order, second, cny(200), &[(line, 2)]));
    until_counters(&fixture, &order, (0, 0, 5)).await;
}

#[tokio::test]
async fn used_units_are_refunded_only_where_somebody_says_why() {
    let fixture = Fixture::start().await;
    let order = paid(&fixture, 3).await;
    redeem(&fixture, &order.vouchers[0], 2).await.unwrap();
    let refund = RefundId::new();
    for request in [units(&order, refund, 2), everything(&order, refund)] {
        let refused = reserve(&fixture, request).await.unwrap_err();
        assert_reason(&refused, Code::FailedPrecondition, "VOUCHER_USED");
        let metadata = refused.get_details_error_info().unwrap().metadata;
        assert_eq!(metadata["line_id"], order.lines[0].line_id);
        assert_eq!(metadata["refund_id"], refund.to_string());
    }
    assert_eq!(
        counters(&fixture.voucher(&order.vouchers[0].code).await.unwrap()),
        (2, 0, 0),
        "nothing was done"
    );

    let two = reserve(&fixture, forced(units(&order, refund, 2))).await.unwrap();
    assert_eq!((two.uses[0].uses, two.uses[0].used), (1, 1));
    assert_eq!(two.force_reason, "the tasting was spoilt");
    // Of the two used units one is refunded by now; the other one needs a reason of its own.
    let rest = RefundId::new();
    let refused = reserve(&fixture, everything(&order, rest)).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().metadata["used"], "1");
    let last = reserve(&fixture, forced(everything(&order, rest))).await.unwrap();
    assert_eq!((last.uses[0].uses, last.uses[0].used), (0, 1));
    // And all are refunded: nothing is used that was not.
    assert_eq!(reserve(&fixture, everything(&order, RefundId::new())).await.unwrap().uses, []);
}

#[tokio::test]
async fn a_repeated_reservation_is_one_and_another_under_its_id_is_refused() {
    let fixture = Fixture::start().await;
    let order = paid(&fixture, 10).await;
    let refund = RefundId::new();
    let answers = join_all((0..20).map(|_| reserve(&fixture, units(&order, refund, 2)))).await;
    let first = answers[0].as_ref().unwrap();
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap() == first));
    assert_eq!(counters(&fixture.voucher(&order.vouchers[0].code).await.unwrap()), (0, 2, 0));
    let other = reserve(&fixture, units(&order, refund, 3)).await.unwrap_err();
    assert_reason(&other, Code::AlreadyExists, "IDEMPOTENCY_KEY_REUSED");

    for _ in 0..2 {
        assert_eq!(release(&fixture, &order, refund).await.unwrap().state(), State::Released);
        assert_eq!(counters(&fixture.voucher(&order.vouchers[0].code).await.unwrap()), (0, 0, 0));
    }
    let late = reserve(&fixture, units(&order, refund, 2)).await.unwrap_err();
    assert_reason(&late, Code::FailedPrecondition, "VOUCHER_RESERVATION_STATE");
}

#[tokio::test]
async fn a_refund_that_ended_before_it_set_anything_aside_sets_nothing_aside_later() {
    let fixture = Fixture::start().await;
    let order = paid(&fixture, 1).await;
    let (released, told) = (RefundId::new(), RefundId::new());
    release(&fixture, &order, released).await.unwrap();
    fixture.refunds.push(fixture.merchant, failed(&order, told));
    // Behind it in the same log.
    fixture.refunds.push(fixture.merchant, refunded(&order, RefundId::new(), cny(1), &[]));
    fixture.until("what came behind", &order, |order| order.refunded == Some(cny(1))).await;
    for refund in [released, told] {
        let late = reserve(&fixture, units(&order, refund, 1)).await.unwrap_err();
        assert_reason(&late, Code::FailedPrecondition, "VOUCHER_RESERVATION_STATE");
    }
    redeem(&fixture, &order.vouchers[0], 1).await.unwrap();
}

#[tokio::test]
async fn of_tills_and_refunds_at_once_no_use_is_both_redeemed_and_refunded() {
    let fixture = Fixture::start().await;
    let order = paid(&fixture, 20).await;
    let voucher = &order.vouchers[0];
    let tills = join_all((0..30).map(|_| redeem(&fixture, voucher, 1)));
    let refunds: Vec<RefundId> = (0..30).map(|_| RefundId::new()).collect();
    let reservations = join_all(refunds.iter().map(|refund| reserve(&fixture, units(&order, *refund, 1))));
    let (tills, reservations) = tokio::join!(tills, reservations);
    let redeemed = tills.iter().filter(|answer| answer.is_ok()).count();
    let taken: Vec<RefundId> = refunds
        .into_iter()
        .zip(&reservations)
        .filter(|(_, answer)| answer.is_ok())
        .map(|(refund, _)| refund)
        .collect();
    assert_eq!(redeemed + taken.len(), 20, "each use went one way");
    for answer in reservations.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_reason(answer, Code::FailedPrecondition, "VOUCHER_USED");
    }
    let line = order.lines[0].line_id.as_str();
    let events = taken.iter().map(|refund| refunded(&order, *refund, cny(100), &[(line, 1)]));
    fixture.refunds.push_all(fixture.merchant, events);
    let (redeemed, voided) = (u32::try_from(redeemed).unwrap(), u32::try_from(taken.len()).unwrap());
    until_counters(&fixture, &order, (redeemed, 0, voided)).await;
}

#[tokio::test]
async fn the_database_holds_the_ceiling_of_a_voucher() {
    let fixture = Fixture::start().await;
    let order = paid(&fixture, 3).await;
    reserve(&fixture, units(&order, RefundId::new(), 2)).await.unwrap();
    for set in ["redeemed = 2", "voided = 2", "reserved = 4"] {
        let sql = format!("update voucher set {set}");
        let refused =
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&fixture.database.pool()).await.unwrap_err();
        assert_eq!(tael_postgres::violated_constraint(&refused), Some("voucher_not_overused"), "{set}");
    }
}

#[tokio::test]
async fn orders_without_vouchers_unpaid_ones_unknown_ones_and_malformed_requests() {
    let fixture = Fixture::start().await;
    let order = fixture.create(fixture.request(vec![line("tea", 1, cny(100))])).await;
    let plain = fixture.pay(&order).await;
    let nothing = reserve(&fixture, everything(&plain, RefundId::new())).await.unwrap();
    assert_eq!((nothing.state(), nothing.uses), (State::Reserved, vec![]));
    let unpaid = fixture.order().await;
    let refused = reserve(&fixture, everything(&unpaid, RefundId::new())).await.unwrap_err();
    assert_reason(&refused, Code::FailedPrecondition, "ORDER_STATE");
    let request = everything(&plain, RefundId::new());
    for unknown in [
        ReserveVoucherUsesRequest { order_id: OrderId::new().to_string(), ..request.clone() },
        ReserveVoucherUsesRequest { merchant_id: MerchantId::new().to_string(), ..request.clone() },
    ] {
        assert_reason(&reserve(&fixture, unknown).await.unwrap_err(), Code::NotFound, "ORDER_NOT_FOUND");
    }
    let line_id = LineId::new().to_string();
    let twice = RefundedUnits { line_id, quantity: 1 };
    let bad = ReserveVoucherUsesRequest {
        lines: vec![twice.clone(), twice, RefundedUnits::default()],
        force_reason: "x".repeat(257),
        ..ReserveVoucherUsesRequest::default()
    };
    assert_bad_fields(
        &reserve(&fixture, bad).await.unwrap_err(),
        &[
            "merchant_id",
            "order_id",
            "refund_id",
            "lines[1].line_id",
            "lines[2].line_id",
            "lines[2].quantity",
            "force_reason",
        ],
    );
    let release = fixture.vouchers().release_voucher_uses(ReleaseVoucherUsesRequest::default()).await;
    assert_bad_fields(&release.unwrap_err(), &["merchant_id", "order_id", "refund_id"]);
}
