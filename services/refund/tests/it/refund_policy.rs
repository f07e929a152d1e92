//! SetRefundPolicy and GetRefundPolicy.

use tael_ids::MerchantId;
use tael_proto::refund::v1::{GetRefundPolicyRequest, RefundPolicy, SetRefundPolicyRequest};
use tael_testkit::{keyed, new_key, no_redis_url, with_key};
use tonic::Code;

use crate::fixture::{Fixture, money};

async fn get(fixture: &Fixture, merchant_id: &str) -> RefundPolicy {
    let request = GetRefundPolicyRequest { merchant_id: merchant_id.to_owned() };
    fixture.policies.clone().get_refund_policy(request).await.unwrap().into_inner().policy.unwrap()
}

fn days(fixture: &Fixture, window_days: u32) -> SetRefundPolicyRequest {
    let policy = RefundPolicy { window_days, auto_approve_limits: Vec::new() };
    SetRefundPolicyRequest { merchant_id: fixture.merchant_id.to_string(), policy: Some(policy) }
}

#[tokio::test]
async fn the_last_policy_is_in_force() {
    let fixture = Fixture::start().await;
    let merchant_id = fixture.merchant_id.to_string();
    assert_eq!(
        get(&fixture, &merchant_id).await,
        RefundPolicy { window_days: 90, auto_approve_limits: Vec::new() }
    );

    let mut policies = fixture.policies.clone();
    policies.set_refund_policy(keyed(days(&fixture, 7))).await.unwrap();
    let policy =
        RefundPolicy { window_days: 14, auto_approve_limits: vec![money("CNY", 10_000), money("JPY", 0)] };
    let request = SetRefundPolicyRequest { merchant_id: merchant_id.clone(), policy: Some(policy.clone()) };
    let answer = policies.set_refund_policy(keyed(request)).await.unwrap().into_inner();
    assert_eq!(answer.policy, Some(policy.clone()));
    assert_eq!(get(&fixture, &merchant_id).await, policy);
    // Another merchant has its own.
    assert_eq!(get(&fixture, &MerchantId::new().to_string()).await.window_days, 90);
}

#[tokio::test]
async fn a_repeated_call_does_not_bring_an_old_policy_back() {
    let fixture = Fixture::with_redis(no_redis_url()).await;
    let mut policies = fixture.policies.clone();
    let key = new_key();
    let first = policies.set_refund_policy(with_key(&key, days(&fixture, 7))).await.unwrap().into_inner();
    policies.set_refund_policy(keyed(days(&fixture, 30))).await.unwrap();
    let repeated = policies.set_refund_policy(with_key(&key, days(&fixture, 7))).await.unwrap().into_inner();
    assert_eq!(repeated, first);
    assert_eq!(get(&fixture, &fixture.merchant_id.to_string()).await.window_days, 30);
    let reused = policies.set_refund_policy(with_key(&key, days(&fixture, 8))).await.unwrap_err();
    assert_eq!(reused.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn fifty_identical_calls_are_one_version() {
    for redis in [tael_testkit::redis_url(), no_redis_url()] {
        let fixture = Fixture::with_redis(redis).await;
        let key = new_key();
        let calls = (0..50).map(|_| {
            let (mut policies, request) = (fixture.policies.clone(), with_key(&key, days(&fixture, 7)));
            async move { policies.set_refund_policy(request).await.unwrap().into_inner() }
        });
        let answers = futures::future::join_all(calls).await;
        assert!(answers.iter().all(|a| *a == answers[0]));
        assert_eq!(fixture.count("refund_policy").await, 1);
    }
}
