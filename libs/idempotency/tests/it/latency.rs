//! What the guard costs a call. `cargo test -p tael-idempotency latency -- --nocapture` shows the figures.

use std::time::Duration;

use tael_idempotency::Idempotency;
use tael_testkit::{RedisServer, eventually};
use tokio::time::Instant;

use crate::{Effect, call, is_replayed, new_key};

const CALLS: usize = 200;

/// How long the first call takes, half of the ones that follow at most, and the slowest of those.
struct Latency {
    first: Duration,
    median: Duration,
    slowest: Duration,
}

async fn measure(state: &str, idempotency: &Idempotency) -> Latency {
    let effect = Effect::default();
    let mut took = Vec::with_capacity(CALLS);
    for n in 1..=CALLS {
        let call = call(&new_key(), 7);
        let began = Instant::now();
        let answer = effect.run(idempotency, call).await.unwrap();
        took.push(began.elapsed());
        assert_eq!(answer.get_ref().minor, i64::try_from(n).unwrap());
    }
    let first = took.remove(0);
    took.sort_unstable();
    let latency = Latency { first, median: took[CALLS / 2], slowest: took[CALLS - 2] };
    println!(
        "Redis {state}: first call {:?}, then median {:?}, slowest {:?}",
        latency.first, latency.median, latency.slowest
    );
    latency
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_costs_a_quarter_of_a_second_once_a_second() {
    // A call waits for an answer this long at least and at most, and then has something else to do on a busy machine.
    let (least, wait, slack) =
        (Duration::from_millis(200), Duration::from_millis(250), Duration::from_millis(500));
    let mut redis = RedisServer::start().await;
    let idempotency = Idempotency::connect(&redis.url()).unwrap();
    let effect = Effect::default();
    let healthy = measure("healthy", &idempotency).await;
    assert!(healthy.median < Duration::from_millis(50), "{:?}", healthy.median);

    redis.hang();
    let hung = measure("hung", &idempotency).await;
    assert!(hung.first >= least && hung.first < wait + slack, "{:?}", hung.first);
    assert!(hung.median < Duration::from_millis(10), "{:?}", hung.median);
    assert!(hung.slowest < wait + slack, "{:?}", hung.slowest);
    redis.go_on();
    until_it_helps(&idempotency, &effect).await;

    redis.kill();
    let dead = measure("dead", &idempotency).await;
    assert!(dead.first < slack, "{:?}", dead.first);
    assert!(dead.median < Duration::from_millis(10), "{:?}", dead.median);
    redis.restart().await;
    until_it_helps(&idempotency, &effect).await;
}

async fn until_it_helps(idempotency: &Idempotency, effect: &Effect) {
    let (key, began) = (new_key(), Instant::now());
    eventually("a recorded answer", async || {
        let answer = effect.run(idempotency, call(&key, 7)).await.unwrap();
        is_replayed(&answer).then_some(())
    })
    .await;
    println!("it helped again after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
