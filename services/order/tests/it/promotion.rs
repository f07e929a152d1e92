use tael_ids::{MerchantId, PromotionId};
use tael_proto::order::v1::{
    CreatePromotionRequest, EndPromotionRequest, EndPromotionResponse, ListPromotionsRequest,
};
use tael_testkit::keyed;
use tonic::{Code, Status};

use crate::fixture::{Fixture, assert_bad_fields, cny, money};

async fn end(
    fixture: &Fixture,
    merchant_id: String,
    promotion_id: String,
) -> Result<EndPromotionResponse, Status> {
    let request = EndPromotionRequest { merchant_id, promotion_id };
    fixture.promotions().end_promotion(keyed(request)).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn promotions_begin_are_listed_and_end() {
    let fixture = Fixture::start().await;
    let merchant_id = fixture.merchant.to_string();
    let first = fixture.promotion(cny(10_000), cny(10_000)).await;
    assert_eq!((first.threshold.clone(), first.saving.clone()), (Some(cny(10_000)), Some(cny(10_000))));
    assert_eq!((&first.merchant_id, first.name.as_str(), first.end_time), (&merchant_id, "满减", None));
    let second = fixture.promotion(cny(300), cny(20)).await;

    fixture.clock.advance(jiff::SignedDuration::from_secs(5));
    let ended = end(&fixture, merchant_id.clone(), first.promotion_id).await.unwrap().promotion.unwrap();
    assert_eq!(ended.end_time.unwrap().seconds, second.create_time.unwrap().seconds + 5);
    fixture.clock.advance(jiff::SignedDuration::from_secs(5));
    let again = end(&fixture, merchant_id.clone(), ended.promotion_id.clone()).await.unwrap();
    assert_eq!(again.promotion.unwrap(), ended, "ending an ended one changes nothing");

    let request = ListPromotionsRequest { merchant_id, page_size: 1, page_token: String::new() };
    let page = fixture.promotions().list_promotions(request.clone()).await.unwrap().into_inner();
    assert_eq!(page.promotions, [second]);
    let request = ListPromotionsRequest { page_token: page.next_page_token, ..request };
    let page = fixture.promotions().list_promotions(request.clone()).await.unwrap().into_inner();
    assert_eq!((page.promotions, page.next_page_token.as_str()), (vec![ended], ""));
    let elsewhere = ListPromotionsRequest { merchant_id: MerchantId::new().to_string(), ..request };
    let status = fixture.promotions().list_promotions(elsewhere).await.unwrap_err();
    assert_bad_fields(&status, &["page_token"]);
}

#[tokio::test]
async fn every_bad_field_is_named() {
    let fixture = Fixture::start().await;
    let good = || CreatePromotionRequest {
        merchant_id: fixture.merchant.to_string(),
        name: "满减".into(),
        threshold: Some(cny(100)),
        saving: Some(cny(10)),
    };
    let table: Vec<(CreatePromotionRequest, &[&str])> = vec![
        (CreatePromotionRequest::default(), &["merchant_id", "name", "threshold", "saving"]),
        (CreatePromotionRequest { name: "x".repeat(129), ..good() }, &["name"]),
        (CreatePromotionRequest { threshold: Some(cny(0)), ..good() }, &["threshold.minor"]),
        (CreatePromotionRequest { threshold: Some(cny(1_000_000_000_000)), ..good() }, &["threshold.minor"]),
        (CreatePromotionRequest { saving: Some(cny(-1)), ..good() }, &["saving.minor"]),
        (CreatePromotionRequest { saving: Some(cny(101)), ..good() }, &["saving.minor"]),
        (CreatePromotionRequest { saving: Some(money(1, "USD")), ..good() }, &["saving.currency"]),
        (CreatePromotionRequest { saving: Some(money(1, "???")), ..good() }, &["saving.currency"]),
    ];
    for (request, fields) in table {
        let status = fixture.promotions().create_promotion(keyed(request)).await.unwrap_err();
        assert_bad_fields(&status, fields);
    }
    let status = end(&fixture, "x".into(), "y".into()).await.unwrap_err();
    assert_bad_fields(&status, &["merchant_id", "promotion_id"]);
}

#[tokio::test]
async fn unknown_promotions_and_those_of_others_are_not_found() {
    let fixture = Fixture::start().await;
    let promotion = fixture.promotion(cny(100), cny(10)).await;
    let ours = fixture.merchant.to_string();
    for (merchant_id, promotion_id) in
        [(ours, PromotionId::new().to_string()), (MerchantId::new().to_string(), promotion.promotion_id)]
    {
        let status = end(&fixture, merchant_id, promotion_id).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(tael_grpc::status::reason(&status).as_deref(), Some("PROMOTION_NOT_FOUND"));
    }
}
