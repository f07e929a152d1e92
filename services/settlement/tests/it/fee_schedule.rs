use tael_grpc::status::{bad_fields, reason};
use tael_ids::MerchantId;
use tael_proto::settlement::v1::{FeeSchedule, GetFeeSchedulesRequest, SetFeeScheduleRequest};
use tael_proto::r#type::v1::Channel;
use tael_testkit::keyed;
use tonic::{Code, Request};

use crate::fixture::{Fixture, Shop, schedule, start};

fn setting(shop: &Shop, rate: &str, channel_rate: &str) -> SetFeeScheduleRequest {
    SetFeeScheduleRequest {
        merchant_id: shop.merchant_id.clone(),
        fee_schedule: Some(schedule(rate, channel_rate)),
    }
}

async fn in_force(fixture: &Fixture, shop: &Shop) -> Vec<FeeSchedule> {
    let request = GetFeeSchedulesRequest { merchant_id: shop.merchant_id.clone() };
    fixture.fee_schedules.clone().get_fee_schedules(request).await.unwrap().into_inner().fee_schedules
}

#[tokio::test]
async fn the_last_schedule_set_is_in_force() {
    let mut fixture = start().await;
    let (shop, other) = (fixture.shop(), fixture.shop());
    assert_eq!(in_force(&fixture, &shop).await, []);
    let answer =
        fixture.fee_schedules.set_fee_schedule(keyed(setting(&shop, "0.0060", "0.00380000"))).await.unwrap();
    assert_eq!(answer.into_inner().fee_schedule, Some(schedule("0.006", "0.0038")));
    fixture.set_rates(&shop, "0.00000001", "1").await;
    assert_eq!(in_force(&fixture, &shop).await, [schedule("0.00000001", "1")]);
    assert_eq!(in_force(&fixture, &other).await, []);
}

#[tokio::test]
async fn every_bad_field_is_named() {
    let mut fixture = start().await;
    let shop = fixture.shop();
    for bad in ["", "-0.1", "1.00000001", "0.000000001", "1e-3", "0,006", "0.6%", ".5", " 0.1"] {
        let error =
            fixture.fee_schedules.set_fee_schedule(keyed(setting(&shop, bad, "0"))).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert_eq!(bad_fields(&error), ["fee_schedule.fee.rate"], "{bad:?}");
        let error =
            fixture.fee_schedules.set_fee_schedule(keyed(setting(&shop, "0", bad))).await.unwrap_err();
        assert_eq!(bad_fields(&error), ["fee_schedule.channel_fee.rate"], "{bad:?}");
    }
    for channel in [Channel::Unspecified as i32, 99] {
        let fee_schedule = Some(FeeSchedule { channel, ..schedule("0", "0") });
        let request = SetFeeScheduleRequest { merchant_id: "mer_x".to_owned(), fee_schedule };
        let error = fixture.fee_schedules.set_fee_schedule(keyed(request)).await.unwrap_err();
        assert_eq!(bad_fields(&error), ["merchant_id", "fee_schedule.channel"]);
    }
    let error =
        fixture.fee_schedules.set_fee_schedule(keyed(SetFeeScheduleRequest::default())).await.unwrap_err();
    assert_eq!(bad_fields(&error), ["merchant_id", "fee_schedule"]);
    let error =
        fixture.fee_schedules.set_fee_schedule(Request::new(setting(&shop, "0", "0"))).await.unwrap_err();
    assert_eq!(bad_fields(&error), ["idempotency-key"]);
    let error = fixture.fee_schedules.get_fee_schedules(GetFeeSchedulesRequest::default()).await.unwrap_err();
    assert_eq!(bad_fields(&error), ["merchant_id"]);
}

#[tokio::test]
async fn an_unknown_merchant_is_not_found() {
    let mut fixture = start().await;
    let nobody = Shop { merchant_id: MerchantId::new().to_string(), channel_account_id: String::new() };
    let error = fixture.fee_schedules.set_fee_schedule(keyed(setting(&nobody, "0", "0"))).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    assert_eq!(reason(&error).as_deref(), Some("MERCHANT_NOT_FOUND"));
}
