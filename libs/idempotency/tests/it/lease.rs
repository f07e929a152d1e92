use redis::AsyncCommands as _;
use tael_testkit::eventually;

use crate::run::begin;
use crate::{Effect, call, idempotency, is_replayed, message, new_key, redis, redis_key};

const HOUR_MS: i64 = 60 * 60 * 1000;

#[tokio::test]
async fn a_key_is_held_for_seconds_and_an_answer_kept_for_a_day() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let mut redis = redis().await;
    let (running, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
    let held: i64 = redis.pttl(redis_key(&key)).await.unwrap();
    assert!(held > 0 && held <= 30_000, "{held}");
    go_on.add_permits(1);
    running.await.unwrap().unwrap();
    let kept: i64 = redis.pttl(redis_key(&key)).await.unwrap();
    assert!(kept > 23 * HOUR_MS && kept <= 24 * HOUR_MS, "{kept}");
}

/// The first owner is so slow that its lease runs out and another one takes the key: what the first says afterwards
/// is not recorded over the other's answer, nor does its failure give the other's key back.
#[tokio::test]
async fn an_owner_whose_lease_ran_out_changes_nothing() {
    let (idempotency, effect, mut redis) = (idempotency(), Effect::default(), redis().await);
    for round in 0..2 {
        let key = new_key();
        let (slow, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
        let _: bool = redis.pexpire(redis_key(&key), 1).await.unwrap();
        eventually("the lease to run out", async || {
            let held: bool = redis.clone().exists(redis_key(&key)).await.unwrap();
            (!held).then_some(())
        })
        .await;
        let second = effect.run(&idempotency, call(&key, 7)).await.unwrap();
        assert!(!is_replayed(&second));
        if round == 0 {
            go_on.add_permits(1);
            slow.await.unwrap().unwrap();
        } else {
            go_on.close(); // the slow one fails
            slow.await.unwrap().unwrap_err();
        }
        let third = effect.run(&idempotency, call(&key, 7)).await.unwrap();
        assert!(is_replayed(&third));
        assert_eq!(third.get_ref(), second.get_ref());
    }
}

#[tokio::test]
async fn an_answer_that_is_forgotten_leaves_it_to_the_database_guard() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    effect.run(&idempotency, call(&key, 7)).await.unwrap();
    let _: i64 = redis().await.del(redis_key(&key)).await.unwrap();
    let again = effect.run(&idempotency, call(&key, 7)).await.unwrap();
    assert!(!is_replayed(&again));
    assert_eq!(again.get_ref(), &message(2), "the work ran, and would have found its row");
}
