//! GetRefund and ListRefunds.

use tael_grpc::status::{bad_fields, reason};
use tael_ids::{MerchantId, RefundId};
use tael_proto::refund::v1::{GetRefundRequest, ListRefundsRequest, Refund};
use tonic::{Code, Status};

use crate::fixture::{Fixture, amount};

async fn list(
    fixture: &Fixture,
    order_id: &str,
    page_size: u32,
    page_token: &str,
) -> Result<(Vec<Refund>, String), Status> {
    let request = ListRefundsRequest {
        merchant_id: fixture.merchant_id.to_string(),
        order_id: order_id.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    let answer = fixture.refunds.clone().list_refunds(request).await?.into_inner();
    Ok((answer.refunds, answer.next_page_token))
}

#[tokio::test]
async fn refunds_are_listed_page_by_page_newest_first() {
    let fixture = Fixture::start().await;
    let (order, other) = (fixture.paid_order(), fixture.paid_order());
    let mut expected = Vec::new();
    for n in 1..=3 {
        expected.insert(0, fixture.create(&order, amount(n)).await.unwrap());
    }
    let newest = fixture.create(&other, amount(9)).await.unwrap();

    let (first, token) = list(&fixture, &order.order_id, 2, "").await.unwrap();
    assert_eq!(first, expected[..2]);
    let (second, end) = list(&fixture, &order.order_id, 2, &token).await.unwrap();
    assert_eq!((second.as_slice(), end.as_str()), (&expected[2..], ""));

    let (all, _) = list(&fixture, "", 0, "").await.unwrap();
    assert_eq!((all.len(), &all[0]), (4, &newest));

    let elsewhere = list(&fixture, &other.order_id, 2, &token).await.unwrap_err();
    assert_eq!(bad_fields(&elsewhere), ["page_token"]);
}

#[tokio::test]
async fn unknown_refunds_are_not_found() {
    let fixture = Fixture::start().await;
    let refund = fixture.create(&fixture.paid_order(), amount(1)).await.unwrap();
    for (merchant_id, refund_id) in [
        (fixture.merchant_id.to_string(), RefundId::new().to_string()),
        (MerchantId::new().to_string(), refund.refund_id),
    ] {
        let request = GetRefundRequest { merchant_id, refund_id };
        let status = fixture.refunds.clone().get_refund(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_deref()), (Code::NotFound, Some("REFUND_NOT_FOUND")));
    }
    let stranger = ListRefundsRequest { merchant_id: MerchantId::new().to_string(), ..Default::default() };
    assert!(fixture.refunds.clone().list_refunds(stranger).await.unwrap().into_inner().refunds.is_empty());
}
