//! SetRefundPolicy and GetRefundPolicy.

use tael_ids::MerchantId;
use tael_proto::refund::v1::{GetRefundPolicyRequest, RefundPolicy, SetRefundPolicyRequest};
use tael_testkit::{keyed, new_key, no_redis_url, with_key};
use tonic::Code;

use crate::world::{World, money};

async fn get(world: &World, merchant_id: &str) -> RefundPolicy {
    let request = GetRefundPolicyRequest { merchant_id: merchant_id.to_owned() };
    world.refunds.clone().get_refund_policy(request).await.unwrap().into_inner().policy.unwrap()
}

fn days(world: &World, window_days: u32) -> SetRefundPolicyRequest {
    let policy = RefundPolicy { window_days, auto_approve_limits: Vec::new() };
    SetRefundPolicyRequest { merchant_id: world.merchant_id.to_string(), policy: Some(policy) }
}

#[tokio::test]
async fn the_last_policy_is_in_force() {
    let world = World::start().await;
    let merchant_id = world.merchant_id.to_string();
    assert_eq!(
        get(&world, &merchant_id).await,
        RefundPolicy { window_days: 90, auto_approve_limits: Vec::new() }
    );

    let mut refunds = world.refunds.clone();
    refunds.set_refund_policy(keyed(days(&world, 7))).await.unwrap();
    let policy =
        RefundPolicy { window_days: 14, auto_approve_limits: vec![money("CNY", 10_000), money("JPY", 0)] };
    let request = SetRefundPolicyRequest { merchant_id: merchant_id.clone(), policy: Some(policy.clone()) };
    let answer = refunds.set_refund_policy(keyed(request)).await.unwrap().into_inner();
    assert_eq!(answer.policy, Some(policy.clone()));
    assert_eq!(get(&world, &merchant_id).await, policy);
    // Another merchant has its own.
    assert_eq!(get(&world, &MerchantId::new().to_string()).await.window_days, 90);
}

#[tokio::test]
async fn a_repeated_call_does_not_bring_an_old_policy_back() {
    let world = World::with_redis(no_redis_url()).await;
    let mut refunds = world.refunds.clone();
    let key = new_key();
    let first = refunds.set_refund_policy(with_key(&key, days(&world, 7))).await.unwrap().into_inner();
    refunds.set_refund_policy(keyed(days(&world, 30))).await.unwrap();
    let repeated = refunds.set_refund_policy(with_key(&key, days(&world, 7))).await.unwrap().into_inner();
    assert_eq!(repeated, first);
    assert_eq!(get(&world, &world.merchant_id.to_string()).await.window_days, 30);
    let reused = refunds.set_refund_policy(with_key(&key, days(&world, 8))).await.unwrap_err();
    assert_eq!(reused.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn fifty_identical_calls_are_one_version() {
    for redis in [tael_testkit::redis_url(), no_redis_url()] {
        let world = World::with_redis(redis).await;
        let key = new_key();
        let calls = (0..50).map(|_| {
            let (mut refunds, request) = (world.refunds.clone(), with_key(&key, days(&world, 7)));
            async move { refunds.set_refund_policy(request).await.unwrap().into_inner() }
        });
        let answers = futures::future::join_all(calls).await;
        assert!(answers.iter().all(|a| *a == answers[0]));
        assert_eq!(world.count("refund_policy").await, 1);
    }
}
