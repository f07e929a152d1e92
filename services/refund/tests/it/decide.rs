//! ApproveRefund and RejectRefund.

use futures::future::join_all;
use tael_grpc::status::reason;
use tael_ids::{MerchantId, RefundId};
use tael_proto::refund::v1::{ApproveRefundRequest, Refund, RefundState, RejectRefundRequest};
use tael_testkit::{keyed, new_key, no_redis_url, with_key};
use tonic::{Code, Status};

use crate::fixture::{Fixture, amount, full, units};

async fn approve(fixture: &Fixture, refund: &Refund, operator: &str) -> Result<Refund, Status> {
    let request = ApproveRefundRequest {
        merchant_id: refund.merchant_id.clone(),
        refund_id: refund.refund_id.clone(),
        operator: operator.to_owned(),
    };
    fixture.refunds.clone().approve_refund(keyed(request)).await.map(|r| r.into_inner().refund.unwrap())
}

async fn reject(fixture: &Fixture, refund: &Refund, operator: &str) -> Result<Refund, Status> {
    let request = RejectRefundRequest {
        merchant_id: refund.merchant_id.clone(),
        refund_id: refund.refund_id.clone(),
        operator: operator.to_owned(),
    };
    fixture.refunds.clone().reject_refund(keyed(request)).await.map(|r| r.into_inner().refund.unwrap())
}

#[tokio::test]
async fn above_the_limit_a_person_decides() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    fixture.limit(1_000).await;
    assert_eq!(fixture.create(&order, amount(1_000)).await.unwrap().state(), RefundState::Succeeded);
    let refund = fixture.create(&order, amount(1_001)).await.unwrap();
    assert_eq!(refund.state(), RefundState::PendingApproval);
    assert_eq!((fixture.sums().await, fixture.payments.calls().len()), ((1_001, 1_000), 1));

    let approved = approve(&fixture, &refund, "mei").await.unwrap();
    assert_eq!((approved.state(), fixture.sums().await), (RefundState::Succeeded, (0, 2_001)));
    assert_eq!(approve(&fixture, &refund, "mei").await.unwrap(), approved);
    for status in [
        approve(&fixture, &refund, "bo").await.unwrap_err(),
        reject(&fixture, &refund, "mei").await.unwrap_err(),
    ] {
        assert_eq!(
            (status.code(), reason(&status).as_deref()),
            (Code::FailedPrecondition, Some("REFUND_STATE"))
        );
    }
    assert_eq!(fixture.payments.calls().len(), 2);
}

#[tokio::test]
async fn a_rejection_gives_the_amount_back() {
    let fixture = Fixture::start().await;
    let order = fixture.paid_order();
    fixture.limit(0).await;
    let refund = fixture.create(&order, units(&order, 0, 3)).await.unwrap();
    let rejected = reject(&fixture, &refund, "mei").await.unwrap();
    assert_eq!((rejected.state(), fixture.sums().await), (RefundState::Rejected, (0, 0)));
    assert_eq!(reject(&fixture, &refund, "mei").await.unwrap(), rejected);
    let status = approve(&fixture, &refund, "mei").await.unwrap_err();
    assert_eq!(reason(&status).as_deref(), Some("REFUND_STATE"));
    assert_eq!(fixture.said().await, ["refund.created", "refund.failed"]);
    assert!(fixture.payments.calls().is_empty());
    // The units can be refunded after all.
    fixture.create(&order, units(&order, 0, 3)).await.unwrap();
}

#[tokio::test]
async fn fifty_identical_approvals_are_one() {
    for redis in [tael_testkit::redis_url(), no_redis_url()] {
        let fixture = Fixture::with_redis(redis).await;
        fixture.limit(0).await;
        let refund = fixture.create(&fixture.paid_order(), full()).await.unwrap();
        let key = new_key();
        let calls = (0..50).map(|_| {
            let request = ApproveRefundRequest {
                merchant_id: refund.merchant_id.clone(),
                refund_id: refund.refund_id.clone(),
                operator: "mei".to_owned(),
            };
            let (mut refunds, request) = (fixture.refunds.clone(), with_key(&key, request));
            async move { refunds.approve_refund(request).await.unwrap().into_inner().refund.unwrap() }
        });
        let answers = join_all(calls).await;
        assert!(
            answers.iter().all(|a| *a == answers[0] && a.state() == RefundState::Succeeded),
            "{answers:?}"
        );
        assert_eq!(fixture.payments.calls().len(), 1);
    }
}

#[tokio::test]
async fn approval_and_rejection_at_once_have_one_winner() {
    let fixture = Fixture::start().await;
    fixture.limit(0).await;
    let order = fixture.paid_order();
    let refund = fixture.create(&order, full()).await.unwrap();
    let (yes, no) = tokio::join!(approve(&fixture, &refund, "mei"), reject(&fixture, &refund, "bo"));
    assert!(yes.is_ok() != no.is_ok(), "{yes:?} {no:?}");
    assert_eq!(fixture.said().await.len(), 2);
}

#[tokio::test]
async fn unknown_refunds_are_not_found() {
    let fixture = Fixture::start().await;
    fixture.limit(0).await;
    let refund = fixture.create(&fixture.paid_order(), full()).await.unwrap();
    let unknown = Refund { refund_id: RefundId::new().to_string(), ..refund.clone() };
    let strangers = Refund { merchant_id: MerchantId::new().to_string(), ..refund };
    for refund in [unknown, strangers] {
        for status in [
            approve(&fixture, &refund, "mei").await.unwrap_err(),
            reject(&fixture, &refund, "mei").await.unwrap_err(),
        ] {
            assert_eq!(
                (status.code(), reason(&status).as_deref()),
                (Code::NotFound, Some("REFUND_NOT_FOUND"))
            );
        }
    }
}
