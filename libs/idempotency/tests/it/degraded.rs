use std::net::Ipv4Addr;
use std::time::Duration;

use futures::future::join_all;
use redis::AsyncCommands as _;
use secrecy::SecretString;
use tael_idempotency::Idempotency;
use tael_testkit::no_redis_url;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::{Effect, call, idempotency, is_replayed, message, new_key, redis, redis_key};

/// Twenty calls in a row with a Redis that is no help must all have their effect, and one wait in all.
async fn works_without_help(url: &SecretString) {
    let (idempotency, effect) = (Idempotency::connect(url).unwrap(), Effect::default());
    let began = Instant::now();
    for n in 1..=20 {
        let answer = effect.run(&idempotency, call(&new_key(), 7)).await.unwrap();
        assert!(!is_replayed(&answer));
        assert_eq!(answer.get_ref(), &message(n));
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "every call waited: {took:?}");
}

/// A server that answers whatever it is asked with these bytes, or not at all.
async fn server(answer: &'static [u8]) -> SecretString {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                while stream.read(&mut asked).await.is_ok_and(|n| n > 0) {
                    if stream.write_all(answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    format!("redis://{addr}").into()
}

#[tokio::test]
async fn without_redis_the_work_runs() {
    works_without_help(&no_redis_url()).await;
}

#[tokio::test]
async fn with_a_redis_that_never_answers_the_work_runs() {
    works_without_help(&server(b"").await).await;
}

#[tokio::test]
async fn with_a_redis_that_talks_nonsense_the_work_runs() {
    let nonsense = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n".as_slice(),
        b"*1\r\n:9\r\n",
        b"+OK\r\n",
        b"*0\r\n",
        b"*2\r\n:2\r\n:5\r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        b"-CLUSTERDOWN The cluster is down\r\n",
        b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        b"-NOAUTH Authentication required.\r\n",
        b"-NOPERM this user has no permissions to run the 'evalsha' command\r\n",
        b"-MISCONF Redis is configured to save RDB snapshots, but it is currently unable to persist on disk.\r\n",
        b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.\r\n",
        b"\x00\xff\x00\xff\r\n",
    ];
    join_all(nonsense.map(async |nonsense| works_without_help(&server(nonsense).await).await)).await;
}

#[tokio::test]
async fn readiness_can_be_asked() {
    assert!(idempotency().ping().await);
    assert!(!Idempotency::connect(&no_redis_url()).unwrap().ping().await);
}

#[test]
fn an_address_that_is_none_is_refused_at_start() {
    assert!(Idempotency::connect(&"postgres://somewhere".into()).is_err());
}

#[tokio::test]
async fn what_is_no_record_of_ours_does_not_stop_the_work() {
    let (effect, mut redis) = (Effect::default(), redis().await);
    // Another type of value under the key; an answer that is no message; refusals without message, and without reason.
    let (text, broken, mute, no_refusal) = (new_key(), new_key(), new_key(), new_key());
    let _: () = redis.set(redis_key(&text), "not a hash").await.unwrap();
    let fingerprint = call(&broken, 7).guard().fingerprint;
    let _: () = redis.hset(redis_key(&broken), "fingerprint", fingerprint).await.unwrap();
    let _: () = redis.hset(redis_key(&broken), "answer", b"\xff\xff".as_slice()).await.unwrap();
    for (key, code) in [(&mute, "5"), (&no_refusal, "0")] {
        let fingerprint = call(key, 7).guard().fingerprint;
        let _: () = redis.hset(redis_key(key), "refused", fingerprint).await.unwrap();
        let _: () = redis.hset(redis_key(key), "code", code).await.unwrap();
    }
    let _: () =
        redis.hset_multiple(redis_key(&no_refusal), &[("message", ""), ("details", "")]).await.unwrap();
    for key in [text, broken, mute, no_refusal] {
        let answer = effect.run(&idempotency(), call(&key, 7)).await.unwrap();
        assert!(!is_replayed(&answer));
        let _: i64 = redis.del(redis_key(&key)).await.unwrap();
    }
    assert_eq!(effect.count(), 4);
}

#[tokio::test]
async fn redis_is_used_again_when_it_is_back() {
    let (idempotency, effect, mut redis) = (idempotency(), Effect::default(), redis().await);
    let (trouble, key) = (new_key(), new_key());
    let _: () = redis.set(redis_key(&trouble), "not a hash").await.unwrap();
    effect.run(&idempotency, call(&trouble, 7)).await.unwrap();
    let _: i64 = redis.del(redis_key(&trouble)).await.unwrap();
    tael_testkit::eventually("a recorded answer", async || {
        let answer = effect.run(&idempotency, call(&key, 7)).await.unwrap();
        is_replayed(&answer).then_some(())
    })
    .await;
}
