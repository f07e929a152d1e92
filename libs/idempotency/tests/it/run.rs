use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tael_grpc::{deadline, status};
use tael_idempotency::{Call, Idempotency, IdempotencyKey};
use tael_proto::r#type::v1::Money;
use tael_testkit::{TestDatabase, no_redis_url};
use tokio::sync::{Barrier, Semaphore, oneshot};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status};

use crate::storm::{effects, once};
use crate::{Effect, call, idempotency, is_replayed, message, new_key};

/// Begins a call whose work goes on until a permit is given; returns when the work has begun.
pub(crate) async fn begin(
    idempotency: &Idempotency,
    call: Call,
    effect: &Effect,
) -> (tokio::task::JoinHandle<Result<tonic::Response<Money>, Status>>, Arc<Semaphore>) {
    let (idempotency, effect, go_on) = (idempotency.clone(), effect.clone(), Arc::new(Semaphore::new(0)));
    let (begun, has_begun) = oneshot::channel();
    let permit = Arc::clone(&go_on);
    let running = tokio::spawn(async move {
        let work = |_| async move {
            begun.send(()).unwrap();
            permit.acquire().await.map_err(|_| Status::unavailable("the test says so"))?.forget();
            Ok(effect.happen())
        };
        idempotency.run(call, work).await
    });
    has_begun.await.unwrap();
    (running, go_on)
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_have_one_effect_and_fifty_equal_answers() {
    let (replicas, effect, key) = ([idempotency(), idempotency()], Effect::default(), new_key());
    let all_here = Arc::new(Barrier::new(50));
    let calls = (0..50).map(|n| {
        let (idempotency, effect, call) = (replicas[n % 2].clone(), effect.clone(), call(&key, 7));
        let all_here = all_here.clone();
        tokio::spawn(async move {
            all_here.wait().await;
            let work = |_| async move { Ok(effect.happen()) };
            idempotency.run(call, work).await
        })
    });
    let answers: Vec<_> = join_all(calls).await.into_iter().map(|answer| answer.unwrap().unwrap()).collect();
    assert_eq!(effect.count(), 1);
    assert_eq!(answers.iter().filter(|answer| is_replayed(answer)).count(), 49);
    assert!(answers.iter().all(|answer| answer.get_ref() == &message(1)));
}

#[tokio::test]
async fn a_repetition_gets_the_recorded_answer_marked_as_such() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let first = effect.run(&idempotency, call(&key, 7)).await.unwrap();
    assert!(!is_replayed(&first));
    let second = effect.run(&idempotency, call(&key, 7)).await.unwrap();
    assert!(is_replayed(&second));
    assert_eq!(second.get_ref(), first.get_ref());
    assert_eq!(effect.count(), 1);
}

#[tokio::test]
async fn an_answer_without_content_is_remembered_too() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    for _ in 0..2 {
        let effect = effect.clone();
        let work = |_| async move {
            effect.happen();
            Ok(Money::default())
        };
        assert_eq!(idempotency.run(call(&key, 7), work).await.unwrap().into_inner(), Money::default());
    }
    assert_eq!(effect.count(), 1);
}

#[tokio::test]
async fn keys_belong_to_a_caller_and_a_method() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    for (caller, method) in [("a", "Do"), ("b", "Do"), ("a", "Undo")] {
        let call = Call::with_key(&caller, method, &key, &message(7));
        assert!(!is_replayed(&effect.run(&idempotency, call).await.unwrap()));
    }
    assert_eq!(effect.count(), 3);
}

#[tokio::test]
async fn a_key_with_another_request_is_a_conflict_also_while_in_progress() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let (running, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
    let mut refusals = vec![effect.run(&idempotency, call(&key, 8)).await.unwrap_err()];
    go_on.add_permits(1);
    running.await.unwrap().unwrap();
    refusals.push(effect.run(&idempotency, call(&key, 8)).await.unwrap_err());
    for refusal in refusals {
        assert_eq!(refusal.code(), Code::AlreadyExists);
        assert_eq!(status::reason(&refusal).as_deref(), Some("IDEMPOTENCY_KEY_REUSED"));
    }
    assert_eq!(effect.count(), 1);
}

#[tokio::test]
async fn a_call_in_progress_is_waited_for() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let (running, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
    let waiting = tokio::spawn({
        let (idempotency, effect, call) = (idempotency.clone(), effect.clone(), call(&key, 7));
        async move { effect.run(&idempotency, call).await }
    });
    go_on.add_permits(1);
    let first = running.await.unwrap().unwrap();
    let second = waiting.await.unwrap().unwrap();
    assert!(!is_replayed(&first) && is_replayed(&second));
    assert_eq!(first.get_ref(), second.get_ref());
    assert_eq!(effect.count(), 1);
}

#[tokio::test]
async fn a_call_in_progress_is_waited_for_until_the_deadline() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let (running, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
    let began = Instant::now();
    let until = began + Duration::from_millis(150);
    let aborted = deadline::scope(until, effect.run(&idempotency, call(&key, 7))).await.unwrap_err();
    assert_eq!(aborted.code(), Code::Aborted);
    assert_eq!(status::reason(&aborted).as_deref(), Some("IDEMPOTENCY_IN_PROGRESS"));
    let waited = began.elapsed();
    assert!(waited > Duration::from_millis(50) && waited < Duration::from_secs(5), "{waited:?}");

    go_on.add_permits(1);
    running.await.unwrap().unwrap();
    assert!(is_replayed(&effect.run(&idempotency, call(&key, 7)).await.unwrap()));
    assert_eq!(effect.count(), 1);
}

#[tokio::test]
async fn who_waits_wakes_soon_after_the_answer() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let (running, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
    let waiting = effect.run(&idempotency, call(&key, 7));
    tokio::pin!(waiting);
    // By then it looks as seldom as it ever does.
    assert!(timeout(Duration::from_millis(300), &mut waiting).await.is_err());
    go_on.add_permits(1);
    running.await.unwrap().unwrap();
    let answered = Instant::now();
    assert!(is_replayed(&waiting.await.unwrap()));
    let late = answered.elapsed();
    assert!(late < Duration::from_millis(500), "{late:?}");
}

#[tokio::test]
async fn a_transient_error_gives_the_key_back() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let failing = |_| async { Err::<Money, _>(Status::unavailable("not now")) };
    let failed = idempotency.run(call(&key, 7), failing).await.unwrap_err();
    assert_eq!((failed.code(), failed.message()), (Code::Unavailable, "not now"));
    // Given back for good: even another request may use it now.
    assert!(!is_replayed(&effect.run(&idempotency, call(&key, 8)).await.unwrap()));
    assert_eq!(effect.count(), 1);
}

#[tokio::test]
async fn the_work_knows_the_call_s_guard_and_deadline() {
    let (idempotency, key) = (idempotency(), new_key());
    let until = Instant::now() + Duration::from_secs(3);
    let (guard, call) = (call(&key, 7).guard(), call(&key, 7));
    let work = move |given| async move {
        assert_eq!(given, guard);
        assert_eq!(deadline::current(), Some(until));
        Ok(message(1))
    };
    deadline::scope(until, idempotency.run(call, work)).await.unwrap();
}

#[tokio::test]
async fn a_panic_is_an_incident_and_not_an_answer() {
    let idempotency = idempotency();
    let (effect, key) = (Effect::default(), new_key());
    let work = |_| async { panic!("as intended") };
    let failed = idempotency.run::<Money, _, _>(call(&key, 7), work).await.unwrap_err();
    assert_eq!(failed.code(), Code::Internal);
    assert!(!failed.message().contains("intended"), "{}", failed.message());
    // Nobody waits for the lease of a work that panicked.
    let again = timeout(Duration::from_secs(3), effect.run(&idempotency, call(&key, 7))).await.unwrap();
    assert!(!is_replayed(&again.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_at_once_do_not_mix() {
    let (idempotency, seed) = (idempotency(), new_key());
    let calls = (0..200_i64).map(|n| {
        let (idempotency, call) = (idempotency.clone(), call(&format!("{seed}-{}", n % 100), n % 100));
        tokio::spawn(async move { idempotency.run(call, move |_| async move { Ok(message(n % 100)) }).await })
    });
    let answers = join_all(calls).await.into_iter().map(|answer| answer.unwrap().unwrap().into_inner().minor);
    let answers: Vec<_> = answers.collect();
    for (n, answer) in (0..200_i64).zip(&answers) {
        assert_eq!(*answer, n % 100);
    }
    assert_eq!(answers.iter().collect::<HashSet<_>>().len(), 100);
}

#[tokio::test]
async fn what_the_database_finds_is_marked_as_replayed() {
    let database = TestDatabase::create().await;
    let pool = effects(&database).await;
    // Redis tells nothing: the unique constraint alone recovers the first effect.
    let idempotency = Idempotency::connect(&no_redis_url()).unwrap();
    let key = new_key();
    let run = async |request| {
        let pool = pool.clone();
        let work = |guard: IdempotencyKey| async move { once(&pool, &guard).await.map(message) };
        idempotency.run(call(&key, request), work).await
    };
    let first = run(7).await.unwrap();
    assert!(!is_replayed(&first));
    let again = run(7).await.unwrap();
    assert!(is_replayed(&again));
    assert_eq!(again.get_ref(), first.get_ref());
    let other = run(8).await.unwrap_err();
    assert_eq!(status::reason(&other).as_deref(), Some("IDEMPOTENCY_KEY_REUSED"));
}

/// The deadlines are those with which a payment was left in doubt: enough to begin, and not to hear the channel.
#[tokio::test]
async fn work_that_has_no_time_for_its_answer_is_not_begun() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let hurried = |left| {
        let run = effect.run(&idempotency, call(&key, 7).needs(Duration::from_millis(200)));
        deadline::scope(Instant::now() + Duration::from_millis(left), run)
    };
    for left in [16, 30, 52] {
        let refused = hurried(left).await.unwrap_err();
        assert_eq!(refused.code(), Code::DeadlineExceeded);
        assert_eq!(status::reason(&refused).as_deref(), Some("DEADLINE_TOO_SHORT"));
    }
    assert_eq!(effect.count(), 0);
    // The key is free, and what was recorded is told however little time there is.
    assert!(!is_replayed(&hurried(5000).await.unwrap()));
    assert!(is_replayed(&hurried(100).await.unwrap()));
    assert_eq!(effect.count(), 1);
}
