use std::cell::Cell;
use std::time::Duration;

use redis::AsyncCommands as _;
use tael_grpc::deadline;
use tael_proto::r#type::v1::Money;
use tael_testkit::eventually;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::Code;

use crate::run::begin;
use crate::{Effect, call, idempotency, is_replayed, message, new_key, redis, redis_key};

const HOUR_MS: i64 = 60 * 60 * 1000;

#[tokio::test]
async fn a_key_is_held_for_seconds_and_an_answer_kept_for_a_day() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let mut redis = redis().await;
    let (running, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
    let held: i64 = redis.pttl(redis_key(&key)).await.unwrap();
    assert!(held > 0 && held <= 10_000, "{held}");
    go_on.add_permits(1);
    running.await.unwrap().unwrap();
    let kept: i64 = redis.pttl(redis_key(&key)).await.unwrap();
    assert!(kept > 23 * HOUR_MS && kept <= 24 * HOUR_MS, "{kept}");
}

/// The process of the first call dies within the work: its runtime ends, and with it everything that would renew.
#[tokio::test]
async fn a_crashed_owner_blocks_its_key_no_longer_than_its_lease() {
    let lease = Duration::from_millis(500);
    let (effect, key) = (Effect::default(), new_key());
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (begun, has_begun) = oneshot::channel();
    let first = call(&key, 7);
    process.spawn(async move {
        let work = |_| async move {
            begun.send(()).unwrap();
            std::future::pending().await
        };
        idempotency().with_lease(lease).run::<Money, _, _>(first, work).await
    });
    has_begun.await.unwrap();
    process.shutdown_background();
    let died = Instant::now();

    let second = effect.run(&idempotency(), call(&key, 7)).await.unwrap();
    let waited = died.elapsed();
    assert!(!is_replayed(&second));
    assert_eq!(effect.count(), 1);
    // Renewed at the latest when it died, and looked at every 100 ms.
    assert!(waited > lease / 2 && waited < lease * 3, "{waited:?}");
}

#[tokio::test]
async fn a_slow_owner_is_not_overtaken() {
    // Long enough for a busy machine to renew it in time.
    let lease = Duration::from_millis(600);
    let (idempotency, effect, key) = (idempotency().with_lease(lease), Effect::default(), new_key());
    let redis = redis().await;
    let (slow, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
    let began = Instant::now();
    let (held, renewals) = (Cell::new(0), Cell::new(0));
    eventually("the lease to be renewed four times", async || {
        let now: i64 = redis.clone().pttl(redis_key(&key)).await.unwrap();
        assert!(now > 0 && now <= 600, "{now}");
        if now > held.replace(now) {
            renewals.set(renewals.get() + 1);
        }
        // The first one seen is the lease itself.
        (renewals.get() > 4).then_some(())
    })
    .await;
    assert!(began.elapsed() > lease);

    let soon = Instant::now() + Duration::from_millis(50);
    let second = deadline::scope(soon, effect.run(&idempotency, call(&key, 7))).await.unwrap_err();
    assert_eq!(second.code(), Code::Aborted);
    go_on.add_permits(1);
    slow.await.unwrap().unwrap();
    assert!(is_replayed(&effect.run(&idempotency, call(&key, 7)).await.unwrap()));
    assert_eq!(effect.count(), 1);
    let kept: i64 = redis.clone().pttl(redis_key(&key)).await.unwrap();
    assert!(kept > 23 * HOUR_MS, "{kept}");
}

/// Redis loses the key while the work goes on, and nobody takes it.
#[tokio::test]
async fn an_answer_is_recorded_although_redis_lost_the_lease_but_a_refusal_is_not() {
    let (idempotency, effect, mut redis) = (idempotency(), Effect::default(), redis().await);
    let (answered, refused) = (new_key(), new_key());
    let (running, go_on) = begin(&idempotency, call(&answered, 7), &effect).await;
    let _: i64 = redis.del(redis_key(&answered)).await.unwrap();
    go_on.add_permits(1);
    running.await.unwrap().unwrap();
    assert!(is_replayed(&effect.run(&idempotency, call(&answered, 7)).await.unwrap()));

    let lost = redis_key(&refused);
    let refusing = |_| async move {
        let _: i64 = redis.del(lost).await.unwrap();
        Err::<Money, _>(tonic::Status::not_found("not yet"))
    };
    idempotency.run(call(&refused, 7), refusing).await.unwrap_err();
    // Another call may have succeeded since.
    assert!(!is_replayed(&effect.run(&idempotency, call(&refused, 7)).await.unwrap()));
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
