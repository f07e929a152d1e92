//! Answers that are not final.

use std::sync::Arc;

use futures::future::join_all;
use redis::AsyncCommands as _;
use tael_idempotency::Idempotency;
use tael_proto::r#type::v1::Money;
use tokio::sync::{Semaphore, oneshot};
use tonic::{Response, Status};

use crate::{Effect, call, idempotency, is_replayed, message, new_key, redis, redis_key};

/// Answers below this are not final.
const FINAL: i64 = 3;

fn is_final(answer: &Money) -> bool {
    answer.minor >= FINAL
}

async fn run(idempotency: &Idempotency, effect: &Effect, key: &str) -> Result<Response<Money>, Status> {
    let effect = effect.clone();
    idempotency.run_until_final(call(key, 7), is_final, |_| async move { Ok(effect.happen()) }).await
}

#[tokio::test]
async fn only_a_final_answer_is_recorded() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    for n in 1..FINAL {
        let answer = run(&idempotency, &effect, &key).await.unwrap();
        assert!(!is_replayed(&answer));
        assert_eq!(answer.get_ref(), &message(n));
        let held: bool = redis().await.exists(redis_key(&key)).await.unwrap();
        assert!(!held, "the key is given back");
    }
    assert!(!is_replayed(&run(&idempotency, &effect, &key).await.unwrap()));
    let again = run(&idempotency, &effect, &key).await.unwrap();
    assert!(is_replayed(&again));
    assert_eq!(again.get_ref(), &message(FINAL));
    assert_eq!(effect.count(), FINAL);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_an_answer_that_is_not_final_begin_themselves() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let go_on = Arc::new(Semaphore::new(0));
    let (begun, has_begun) = oneshot::channel();
    let first = tokio::spawn({
        let (idempotency, effect, call, go_on) =
            (idempotency.clone(), effect.clone(), call(&key, 7), Arc::clone(&go_on));
        let work = |_| async move {
            begun.send(()).unwrap();
            go_on.acquire().await.unwrap().forget();
            Ok(effect.happen())
        };
        async move { idempotency.run_until_final(call, is_final, work).await }
    });
    has_begun.await.unwrap();
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let (idempotency, effect, key) = (idempotency.clone(), effect.clone(), key.clone());
            tokio::spawn(async move { run(&idempotency, &effect, &key).await })
        })
        .collect();
    go_on.add_permits(1);
    assert_eq!(first.await.unwrap().unwrap().get_ref(), &message(1));
    let answers = join_all(waiting).await.into_iter().map(|answer| answer.unwrap().unwrap());
    let (replayed, worked): (Vec<_>, Vec<_>) = answers.partition(is_replayed);
    // One more was not final either; the next one was, and is the answer of all the others.
    assert_eq!(effect.count(), FINAL);
    assert_eq!(worked.iter().map(|answer| answer.get_ref().minor).sum::<i64>(), 2 + FINAL);
    assert_eq!(replayed.len(), 8);
    assert!(replayed.iter().all(|answer| answer.get_ref() == &message(FINAL)));
}
