use std::time::Duration;

use tokio::time::timeout;

use crate::run::begin;
use crate::{Effect, call, idempotency, is_replayed, message, new_key};

#[tokio::test]
async fn the_work_of_a_caller_that_went_away_is_done_and_remembered() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let (running, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(effect.count(), 0);
    go_on.add_permits(1);
    let again = effect.run(&idempotency, call(&key, 7)).await.unwrap();
    assert!(is_replayed(&again));
    assert_eq!(again.get_ref(), &message(1));
    assert_eq!(effect.count(), 1);
}

/// Wherever a call is left, also while Redis is being asked for the key, nobody is kept waiting for the lease to end.
#[tokio::test]
async fn a_caller_that_went_away_leaves_no_key_behind() {
    let idempotency = idempotency();
    for breaker in (0..200).step_by(4) {
        let (effect, key) = (Effect::default(), new_key());
        let leaving = tokio::spawn({
            let (idempotency, effect, call) = (idempotency.clone(), effect.clone(), call(&key, 7));
            async move { effect.run(&idempotency, call).await }
        });
        for _ in 0..breaker {
            tokio::task::yield_now().await;
        }
        leaving.abort();
        let again = timeout(Duration::from_secs(3), effect.run(&idempotency, call(&key, 7))).await;
        let again = again.expect("the key is not held").unwrap();
        assert_eq!(again.get_ref(), &message(1), "left after {breaker}");
        assert_eq!(effect.count(), 1);
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_while_it_waits_for_another_is_forgotten() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let (running, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
    let waiting = timeout(Duration::from_millis(50), effect.run(&idempotency, call(&key, 7))).await;
    assert!(waiting.is_err());
    go_on.close(); // the first one fails, and gives the key back
    running.await.unwrap().unwrap_err();
    idempotency.drain().await;
    assert_eq!(effect.count(), 0, "nobody asks for it any more");
}

#[tokio::test]
async fn draining_waits_for_work_whose_caller_went_away() {
    let (idempotency, effect) = (idempotency(), Effect::default());
    let (running, go_on) = begin(&idempotency, call(&new_key(), 7), &effect).await;
    running.abort();
    let draining = tokio::spawn({
        let idempotency = idempotency.clone();
        async move { idempotency.drain().await }
    });
    tokio::task::yield_now().await;
    assert!(!draining.is_finished());
    go_on.add_permits(1);
    draining.await.unwrap();
    assert_eq!(effect.count(), 1);
}
