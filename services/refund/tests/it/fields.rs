//! Bad requests are refused by the names of their fields, and nothing is done.

use tael_grpc::status::bad_fields;
use tael_ids::{LineId, MerchantId, OrderId, RefundId};
use tael_proto::refund::v1::create_refund_request::Scope;
use tael_proto::refund::v1::{
    ApproveRefundRequest, CreateRefundRequest, GetRefundPolicyRequest, GetRefundRequest, LineQuantity,
    LinesRefund, ListRefundsRequest, RefundPolicy, RejectRefundRequest, SetRefundPolicyRequest,
};
use tael_testkit::keyed;
use tonic::Code;

use crate::fixture::{Fixture, full, money};

fn lines(lines: &[(&str, u32)]) -> Scope {
    let lines =
        lines.iter().map(|(id, quantity)| LineQuantity { line_id: (*id).to_owned(), quantity: *quantity });
    Scope::Lines(LinesRefund { lines: lines.collect() })
}

#[tokio::test]
async fn create_refund_names_every_bad_field() {
    let fixture = Fixture::start().await;
    let good = CreateRefundRequest {
        merchant_id: MerchantId::new().to_string(),
        order_id: OrderId::new().to_string(),
        scope: Some(full()),
        reason: "wrong size".to_owned(),
        force_reason: String::new(),
    };
    let id = LineId::new().to_string();
    let line = id.as_str();
    let with = |scope: Option<Scope>| CreateRefundRequest { scope, ..good.clone() };
    let cases = [
        (CreateRefundRequest { merchant_id: String::new(), ..good.clone() }, vec!["merchant_id"]),
        (CreateRefundRequest { merchant_id: good.order_id.clone(), ..good.clone() }, vec!["merchant_id"]),
        (CreateRefundRequest { order_id: "ord_!".to_owned(), ..good.clone() }, vec!["order_id"]),
        (CreateRefundRequest { reason: String::new(), ..good.clone() }, vec!["reason"]),
        (CreateRefundRequest { reason: "长".repeat(129), ..good.clone() }, vec!["reason"]),
        (CreateRefundRequest { reason: "a\nb".to_owned(), ..good.clone() }, vec!["reason"]),
        (CreateRefundRequest { force_reason: "x".repeat(257), ..good.clone() }, vec!["force_reason"]),
        (with(None), vec!["scope"]),
        (with(Some(Scope::Amount(money("CNY", 0)))), vec!["amount.minor"]),
        (with(Some(Scope::Amount(money("CNY", -5)))), vec!["amount.minor"]),
        (with(Some(Scope::Amount(money("XXX", 5)))), vec!["amount.currency"]),
        (with(Some(Scope::Amount(money("", 5)))), vec!["amount.currency"]),
        (with(Some(lines(&[]))), vec!["lines.lines"]),
        (with(Some(lines(&[(line, 1); 101]))), vec!["lines.lines"]),
        (
            with(Some(lines(&[(line, 0), ("lin_x", 1)]))),
            vec!["lines.lines[0].quantity", "lines.lines[1].line_id"],
        ),
        (with(Some(lines(&[(line, 10_000)]))), vec!["lines.lines[0].quantity"]),
        (with(Some(lines(&[(line, 1), (line, 1)]))), vec!["lines.lines[1].line_id"]),
        (CreateRefundRequest::default(), vec!["merchant_id", "order_id", "scope", "reason"]),
    ];
    for (request, expected) in cases {
        let status = fixture.refunds.clone().create_refund(keyed(request)).await.unwrap_err();
        assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, owned(&expected)));
    }
    let keyless = fixture.refunds.clone().create_refund(good).await.unwrap_err();
    assert_eq!(bad_fields(&keyless), ["idempotency-key"]);
    assert_eq!(fixture.count("refund").await, 0);
}

#[tokio::test]
async fn set_refund_policy_names_every_bad_field() {
    let fixture = Fixture::start().await;
    let merchant_id = MerchantId::new().to_string();
    let policy = |window_days, auto_approve_limits| Some(RefundPolicy { window_days, auto_approve_limits });
    let cases = [
        (None, vec!["policy"]),
        (policy(0, vec![]), vec!["policy.window_days"]),
        (policy(366, vec![]), vec!["policy.window_days"]),
        (policy(90, vec![money("CNY", -1)]), vec!["policy.auto_approve_limits[0].minor"]),
        (policy(90, vec![money("cny", 1)]), vec!["policy.auto_approve_limits[0].currency"]),
        (policy(90, vec![money("CNY", 1), money("CNY", 2)]), vec!["policy.auto_approve_limits[1].currency"]),
        (policy(90, vec![money("CNY", 1); 201]), vec!["policy.auto_approve_limits"]),
    ];
    for (policy, expected) in cases {
        let request = SetRefundPolicyRequest { merchant_id: merchant_id.clone(), policy };
        let status = fixture.policies.clone().set_refund_policy(keyed(request)).await.unwrap_err();
        assert_eq!((status.code(), bad_fields(&status)), (Code::InvalidArgument, owned(&expected)));
    }
    assert_eq!(fixture.count("refund_policy").await, 0);
}

#[tokio::test]
async fn the_other_calls_name_every_bad_field() {
    let fixture = Fixture::start().await;
    let mut refunds = fixture.refunds.clone();
    let refund_id = RefundId::new().to_string();

    let approve = ApproveRefundRequest { refund_id: refund_id.clone(), ..Default::default() };
    let status = refunds.approve_refund(keyed(approve)).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["merchant_id", "operator"]);

    let merchant_id = MerchantId::new().to_string();
    let reject = RejectRefundRequest {
        merchant_id: merchant_id.clone(),
        refund_id: "x".into(),
        operator: "o".repeat(65),
    };
    let status = refunds.reject_refund(keyed(reject)).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["refund_id", "operator"]);

    let status = refunds.get_refund(GetRefundRequest::default()).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["merchant_id", "refund_id"]);

    let status =
        fixture.policies.clone().get_refund_policy(GetRefundPolicyRequest::default()).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["merchant_id"]);

    let list =
        ListRefundsRequest { merchant_id, order_id: refund_id, page_size: 101, page_token: "?".into() };
    let status = refunds.list_refunds(list).await.unwrap_err();
    assert_eq!(bad_fields(&status), ["order_id", "page_size", "page_token"]);
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}
