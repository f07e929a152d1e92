use futures::future::join_all;
use tael_ids::MerchantId;
use tael_proto::event::v1::payload::Kind;
use tael_proto::order::v1::{GetVoucherRequest, RedeemVoucherRequest, RedeemVoucherResponse, Voucher};
use tael_testkit::keyed;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, assert_bad_fields, assert_reason, cny, kind, voucher_line};

async fn issued(fixture: &Fixture, uses: u32) -> Voucher {
    let order = fixture.create(fixture.request(vec![voucher_line("tasting", uses, cny(100))])).await;
    fixture.pay(&order).await.vouchers.remove(0)
}

async fn redeem(fixture: &Fixture, code: &str, count: u32) -> Result<RedeemVoucherResponse, Status> {
    let request = RedeemVoucherRequest {
        merchant_id: fixture.merchant.to_string(),
        code: code.to_owned(),
        count,
        terminal: "till-1".into(),
        operator: "Li".into(),
    };
    fixture.vouchers().redeem_voucher(keyed(request)).await.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_voucher_is_redeemed_by_count_until_it_is_used_up() {
    let fixture = Fixture::start().await;
    let voucher = issued(&fixture, 5).await;
    let first = redeem(&fixture, &voucher.code, 0).await.unwrap();
    assert!(first.redemption_id.starts_with("red_"));
    assert_eq!(first.voucher.unwrap(), Voucher { redeemed: 1, ..voucher.clone() }, "0 means 1");
    let second = redeem(&fixture, &voucher.code, 3).await.unwrap();
    assert_eq!(second.voucher.unwrap().redeemed, 4);
    assert_ne!(second.redemption_id, first.redemption_id);

    let status = redeem(&fixture, &voucher.code, 2).await.unwrap_err();
    assert_reason(&status, Code::FailedPrecondition, "VOUCHER_USED_UP");
    let metadata = status.get_details_error_info().unwrap().metadata;
    assert_eq!((&metadata["voucher_id"], metadata["uses_left"].as_str()), (&voucher.voucher_id, "1"));

    redeem(&fixture, &voucher.code, 1).await.unwrap();
    assert_reason(
        &redeem(&fixture, &voucher.code, 1).await.unwrap_err(),
        Code::FailedPrecondition,
        "VOUCHER_USED_UP",
    );
    assert_eq!(fixture.voucher(&voucher.code).await.unwrap().redeemed, 5);

    let events = fixture.until_events(3, |k| matches!(k, Kind::VoucherRedeemed(_))).await;
    let counts: Vec<u32> = events
        .iter()
        .map(|event| match kind(event) {
            Kind::VoucherRedeemed(redeemed) => {
                assert_eq!(
                    (&redeemed.voucher_id, &redeemed.order_id),
                    (&voucher.voucher_id, &voucher.order_id)
                );
                assert_eq!(redeemed.terminal, "till-1");
                redeemed.count
            }
            _ => unreachable!("filtered"),
        })
        .collect();
    assert_eq!(counts, [1, 3, 1]);
}

#[tokio::test]
async fn of_fifty_tills_at_once_one_redeems_the_last_use() {
    let fixture = Fixture::start().await;
    let voucher = issued(&fixture, 1).await;
    let answers = join_all((0..50).map(|_| redeem(&fixture, &voucher.code, 1))).await;
    let (made, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 49));
    for refusal in refused {
        assert_reason(&refusal.unwrap_err(), Code::FailedPrecondition, "VOUCHER_USED_UP");
    }
    assert_eq!(fixture.voucher(&voucher.code).await.unwrap().redeemed, 1);
}

#[tokio::test]
async fn a_code_reads_as_people_type_it() {
    let fixture = Fixture::start().await;
    let voucher = issued(&fixture, 2).await;
    assert_eq!(voucher.code.len(), 19);
    for typed in [
        voucher.code.to_lowercase(),
        voucher.code.replace('-', ""),
        voucher.code.replace('-', " "),
        format!(" {} ", voucher.code),
        voucher.code.replace('0', "o").replace('1', "I"),
    ] {
        assert_eq!(fixture.voucher(&typed).await.unwrap(), voucher, "{typed}");
    }
    redeem(&fixture, &voucher.code.to_lowercase(), 1).await.unwrap();
}

#[tokio::test]
async fn mistyped_codes_are_told_from_unknown_ones() {
    let fixture = Fixture::start().await;
    let voucher = issued(&fixture, 1).await;
    let last = if voucher.code.ends_with('0') { '1' } else { '0' };
    let mistyped = format!("{}{last}", &voucher.code[..18]);
    // A good code that nobody was given: 14 zeros and the checksum of nothing.
    let unknown = "0000-0000-0000-0000";
    for bad in ["", "ABC", "0000-0000-0000-000U", &mistyped] {
        assert_bad_fields(&fixture.voucher(bad).await.unwrap_err(), &["code"]);
        assert_bad_fields(&redeem(&fixture, bad, 1).await.unwrap_err(), &["code"]);
    }
    assert_reason(&fixture.voucher(unknown).await.unwrap_err(), Code::NotFound, "VOUCHER_NOT_FOUND");
    assert_reason(&redeem(&fixture, unknown, 1).await.unwrap_err(), Code::NotFound, "VOUCHER_NOT_FOUND");
}

#[tokio::test]
async fn vouchers_of_others_are_not_found() {
    let mut fixture = Fixture::start().await;
    let voucher = issued(&fixture, 1).await;
    fixture.merchant = MerchantId::new();
    let status = fixture.voucher(&voucher.code).await.unwrap_err();
    assert_reason(&status, Code::NotFound, "VOUCHER_NOT_FOUND");
    let status = redeem(&fixture, &voucher.code, 1).await.unwrap_err();
    assert_reason(&status, Code::NotFound, "VOUCHER_NOT_FOUND");
}

#[tokio::test]
async fn every_bad_field_is_named() {
    let fixture = Fixture::start().await;
    let good = || RedeemVoucherRequest {
        merchant_id: fixture.merchant.to_string(),
        code: "0000-0000-0000-0000".into(),
        count: 1,
        terminal: "till-1".into(),
        operator: "Li".into(),
    };
    let table: Vec<(RedeemVoucherRequest, &[&str])> = vec![
        (RedeemVoucherRequest::default(), &["merchant_id", "code", "terminal", "operator"]),
        (RedeemVoucherRequest { count: 10_000, ..good() }, &["count"]),
        (RedeemVoucherRequest { terminal: "x".repeat(65), ..good() }, &["terminal"]),
        (RedeemVoucherRequest { operator: "x".repeat(65), ..good() }, &["operator"]),
        (RedeemVoucherRequest { operator: " Li".into(), ..good() }, &["operator"]),
    ];
    for (request, fields) in table {
        let status = fixture.vouchers().redeem_voucher(keyed(request)).await.unwrap_err();
        assert_bad_fields(&status, fields);
    }
    let status = fixture.vouchers().get_voucher(GetVoucherRequest::default()).await.unwrap_err();
    assert_bad_fields(&status, &["merchant_id", "code"]);
}
