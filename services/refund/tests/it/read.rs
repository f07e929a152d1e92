//! GetRefund and ListRefunds.

use tael_grpc::status::{bad_fields, reason};
use tael_ids::{MerchantId, RefundId};
use tael_proto::refund::v1::{GetRefundRequest, ListRefundsRequest, Refund};
use tonic::{Code, Status};

use crate::world::{World, amount};

async fn list(
    world: &World,
    order_id: &str,
    page_size: u32,
    page_token: &str,
) -> Result<(Vec<Refund>, String), Status> {
    let request = ListRefundsRequest {
        merchant_id: world.merchant_id.to_string(),
        order_id: order_id.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    let answer = world.refunds.clone().list_refunds(request).await?.into_inner();
    Ok((answer.refunds, answer.next_page_token))
}

#[tokio::test]
async fn refunds_are_listed_page_by_page_newest_first() {
    let world = World::start().await;
    let (order, other) = (world.paid_order(), world.paid_order());
    let mut expected = Vec::new();
    for n in 1..=3 {
        expected.insert(0, world.create(&order, amount(n)).await.unwrap());
    }
    let newest = world.create(&other, amount(9)).await.unwrap();

    let (first, token) = list(&world, &order.order_id, 2, "").await.unwrap();
    assert_eq!(first, expected[..2]);
    let (second, end) = list(&world, &order.order_id, 2, &token).await.unwrap();
    assert_eq!((second.as_slice(), end.as_str()), (&expected[2..], ""));

    let (all, _) = list(&world, "", 0, "").await.unwrap();
    assert_eq!((all.len(), &all[0]), (4, &newest));

    let elsewhere = list(&world, &other.order_id, 2, &token).await.unwrap_err();
    assert_eq!(bad_fields(&elsewhere), ["page_token"]);
}

#[tokio::test]
async fn unknown_refunds_are_not_found() {
    let world = World::start().await;
    let refund = world.create(&world.paid_order(), amount(1)).await.unwrap();
    for (merchant_id, refund_id) in [
        (world.merchant_id.to_string(), RefundId::new().to_string()),
        (MerchantId::new().to_string(), refund.refund_id),
    ] {
        let request = GetRefundRequest { merchant_id, refund_id };
        let status = world.refunds.clone().get_refund(request).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_deref()), (Code::NotFound, Some("REFUND_NOT_FOUND")));
    }
    let stranger = ListRefundsRequest { merchant_id: MerchantId::new().to_string(), ..Default::default() };
    assert!(world.refunds.clone().list_refunds(stranger).await.unwrap().into_inner().refunds.is_empty());
}
