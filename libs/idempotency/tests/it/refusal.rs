//! Errors that are final, and those that are not.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use redis::{AsyncCommands as _, Script};
use tael_grpc::status;
use tael_idempotency::{Call, Idempotency, REPLAYED};
use tael_proto::r#type::v1::Money;
use tonic::{Code, Status};

use crate::run::begin;
use crate::{Effect, call, idempotency, is_replayed, message, new_key, redis, redis_key};

/// Makes a call whose work counts that it ran, and refuses.
async fn refuse(idempotency: &Idempotency, call: Call, refusal: &Status, count: &Arc<AtomicI64>) -> Status {
    let (refusal, count) = (refusal.clone(), Arc::clone(count));
    let work = |_| async move {
        count.fetch_add(1, Ordering::Relaxed);
        Err::<Money, _>(refusal)
    };
    idempotency.run(call, work).await.unwrap_err()
}

fn is_replay(refusal: &Status) -> bool {
    refusal.metadata().get(REPLAYED).is_some_and(|value| value == "true")
}

fn not_paid() -> Status {
    let metadata = [("order_id", "ord_1".to_owned())];
    status::error(
        Code::FailedPrecondition,
        "tael.refund",
        "ERROR_REASON_ORDER_NOT_PAID",
        "not paid",
        metadata,
    )
}

#[tokio::test]
async fn a_final_refusal_is_replayed_byte_for_byte() {
    let idempotency = idempotency();
    for refusal in [
        not_paid(),
        status::invalid_field("lines[0].quantity", "must be 1 to 999\u{2026}"),
        Status::with_details(Code::NotFound, "", b"\x00\xff\r\n$5".as_slice().into()),
        Status::permission_denied("no details at all"),
    ] {
        let (key, count) = (new_key(), Arc::default());
        let first = refuse(&idempotency, call(&key, 7), &refusal, &count).await;
        assert!(!is_replay(&first));
        for _ in 0..2 {
            let again = refuse(&idempotency, call(&key, 7), &refusal, &count).await;
            assert!(is_replay(&again));
            assert_eq!(
                (again.code(), again.message(), again.details()),
                (refusal.code(), refusal.message(), refusal.details())
            );
            assert_eq!(status::reason(&again), status::reason(&refusal));
            assert_eq!(status::bad_fields(&again), status::bad_fields(&refusal));
        }
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let kept: i64 = redis().await.pttl(redis_key(&key)).await.unwrap();
        assert!(kept > 23 * 60 * 60 * 1000 && kept <= 24 * 60 * 60 * 1000, "{kept}");
    }
}

#[tokio::test]
async fn a_transient_error_or_a_refusal_that_may_pass_is_not_replayed() {
    let idempotency = idempotency();
    let errors =
        [Status::unavailable("not now"), Status::aborted("a race was lost"), Status::unauthenticated("who?")];
    for error in errors.into_iter().chain([not_paid()]) {
        let (key, count, effect) = (new_key(), Arc::default(), Effect::default());
        let call = || call(&key, 7).retryable_reasons(["ERROR_REASON_ORDER_NOT_PAID"]);
        for n in 1..3 {
            let failed = refuse(&idempotency, call(), &error, &count).await;
            assert_eq!((failed.code(), is_replay(&failed)), (error.code(), false));
            assert_eq!(count.load(Ordering::Relaxed), n);
        }
        assert!(!is_replayed(&effect.run(&idempotency, call()).await.unwrap()));
    }
}

#[tokio::test]
async fn a_refused_key_with_another_request_is_a_conflict() {
    let (idempotency, effect, key, count) = (idempotency(), Effect::default(), new_key(), Arc::default());
    refuse(&idempotency, call(&key, 7), &not_paid(), &count).await;
    let conflict = effect.run(&idempotency, call(&key, 8)).await.unwrap_err();
    assert_eq!(status::reason(&conflict).as_deref(), Some("IDEMPOTENCY_KEY_REUSED"));
    assert_eq!(effect.count(), 0);
    let again = refuse(&idempotency, call(&key, 7), &not_paid(), &count).await;
    assert!(is_replay(&again));
}

/// Redis forgot the first request; the database did not, and turns the second one away.
#[tokio::test]
async fn a_conflict_that_the_database_finds_does_not_take_the_key_from_the_first_request() {
    let (idempotency, effect, key, count) = (idempotency(), Effect::default(), new_key(), Arc::default());
    let conflict = call(&key, 8).guard().conflict();
    refuse(&idempotency, call(&key, 8), &conflict, &count).await;
    assert!(!is_replayed(&effect.run(&idempotency, call(&key, 7)).await.unwrap()));
    assert!(is_replayed(&effect.run(&idempotency, call(&key, 7)).await.unwrap()));
}

#[tokio::test]
async fn who_waits_hears_the_refusal() {
    let (idempotency, effect, key) = (idempotency(), Effect::default(), new_key());
    let (running, go_on) = begin(&idempotency, call(&key, 7), &effect).await;
    let waiting = tokio::spawn({
        let (idempotency, call) = (idempotency.clone(), call(&key, 7));
        async move { refuse(&idempotency, call, &not_paid(), &Arc::default()).await }
    });
    go_on.close(); // transient: the one that waits does the work, and is refused
    running.await.unwrap().unwrap_err();
    assert!(!is_replay(&waiting.await.unwrap()));
    assert!(is_replay(&refuse(&idempotency, call(&key, 7), &not_paid(), &Arc::default()).await));
}

/// What binaries did that knew of no refusals. During a rolling update both kinds share Redis.
const OLD_BEGIN: &str = r"
    local seen = redis.call('HMGET', KEYS[1], 'fingerprint', 'answer')
    if not seen[1] then
        redis.call('HSET', KEYS[1], 'fingerprint', ARGV[1], 'owner', ARGV[2])
        redis.call('PEXPIRE', KEYS[1], ARGV[3])
        return {0}
    end
    if seen[1] ~= ARGV[1] then return {1} end
    if seen[2] then return {2, seen[2]} end
    return {3}";
const OLD_FINISH: &str = r"
    if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then return 0 end
    redis.call('HSET', KEYS[1], 'answer', ARGV[2])
    redis.call('HDEL', KEYS[1], 'owner')
    redis.call('PEXPIRE', KEYS[1], ARGV[3])
    return 1";

#[tokio::test]
async fn an_older_binary_takes_a_refused_key_for_free_and_its_answer_counts() {
    let (idempotency, effect, key, mut redis) = (idempotency(), Effect::default(), new_key(), redis().await);
    refuse(&idempotency, call(&key, 7), &not_paid(), &Arc::default()).await;
    let fingerprint = call(&key, 7).guard().fingerprint;
    let (begin, finish) = (Script::new(OLD_BEGIN), Script::new(OLD_FINISH));
    let mut begin = begin.key(redis_key(&key));
    let found: Vec<i64> =
        begin.arg(fingerprint).arg("old").arg(30_000).invoke_async(&mut redis).await.unwrap();
    assert_eq!(found, [0]);
    let mut finish = finish.key(redis_key(&key));
    let answer = prost::Message::encode_to_vec(&message(41));
    let finished: i64 = finish.arg("old").arg(answer).arg(30_000).invoke_async(&mut redis).await.unwrap();
    assert_eq!(finished, 1);
    let again = effect.run(&idempotency, call(&key, 7)).await.unwrap();
    assert!(is_replayed(&again));
    assert_eq!(again.get_ref(), &message(41));
}

#[tokio::test]
async fn an_older_binary_s_answer_is_replayed() {
    let (idempotency, effect, key, mut redis) = (idempotency(), Effect::default(), new_key(), redis().await);
    let answer = prost::Message::encode_to_vec(&message(41));
    let record = [("fingerprint", call(&key, 7).guard().fingerprint), ("answer", answer)];
    let _: () = redis.hset_multiple(redis_key(&key), &record).await.unwrap();
    let again = effect.run(&idempotency, call(&key, 7)).await.unwrap();
    assert!(is_replayed(&again));
    assert_eq!(again.get_ref(), &message(41));
    let _: i64 = redis.del(redis_key(&key)).await.unwrap();
}
