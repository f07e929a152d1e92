//! The master changes under the callers.

use std::net::Ipv4Addr;
use std::time::Duration;

use futures::future::join_all;
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::PgPool;
use tael_idempotency::Idempotency;
use tael_testkit::{RedisSentinels, TestDatabase, eventually, redis_url};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::storm::{effects, once};
use crate::{Effect, call, is_replayed, message, new_key};

/// What callers saw.
#[derive(Debug, Default)]
struct Seen {
    calls: usize,
    slowest: Duration,
}

/// Makes the same call twice at once, at two replicas, again and again until `stop`, with another key each time. All
/// must be answered, and both alike.
async fn call_on(replicas: [Idempotency; 2], pool: PgPool, stop: CancellationToken) -> Seen {
    let mut seen = Seen::default();
    while !stop.is_cancelled() {
        let (key, began) = (new_key(), Instant::now());
        let answers = join_all(replicas.iter().map(async |replica| {
            let pool = pool.clone();
            replica.run(call(&key, 7), |guard| async move { once(&pool, &guard).await.map(message) }).await
        }))
        .await;
        let [one, other] = answers.try_into().unwrap();
        assert_eq!(one.unwrap().into_inner(), other.unwrap().into_inner());
        seen.calls += 1;
        seen.slowest = seen.slowest.max(began.elapsed());
    }
    seen
}

/// Returns how long it took until an answer was remembered again.
async fn until_it_helps(idempotency: &Idempotency) -> Duration {
    let (began, effect) = (Instant::now(), Effect::default());
    eventually("Redis to help again", async || {
        let key = new_key();
        effect.run(idempotency, call(&key, 7)).await.unwrap();
        is_replayed(&effect.run(idempotency, call(&key, 7)).await.unwrap()).then_some(())
    })
    .await;
    began.elapsed()
}

async fn under_load(strike: impl AsyncFnOnce(&mut RedisSentinels)) {
    let (mut redis, database) = tokio::join!(RedisSentinels::start(), TestDatabase::create());
    let pool = effects(&database).await;
    let replicas = [(); 2].map(|()| Idempotency::connect(&redis.url()).unwrap());
    let (remembered, effect) = (new_key(), Effect::default());
    effect.run(&replicas[0], call(&remembered, 7)).await.unwrap();
    assert!(is_replayed(&effect.run(&replicas[1], call(&remembered, 7)).await.unwrap()));
    // Of the answer, and of how much its caller has recorded.
    eventually("the replica to have heard", async || (redis.replica.keys().await == 2).then_some(())).await;

    let stop = CancellationToken::new();
    let callers: Vec<_> =
        (0..4).map(|_| tokio::spawn(call_on(replicas.clone(), pool.clone(), stop.clone()))).collect();
    strike(&mut redis).await;
    let took = join_all(replicas.iter().map(until_it_helps)).await;
    assert!(is_replayed(&effect.run(&replicas[1], call(&remembered, 7)).await.unwrap()), "the replica knows");
    stop.cancel();
    let mut calls = 0;
    let mut slowest = Duration::ZERO;
    for caller in callers {
        let seen = caller.await.unwrap();
        calls += seen.calls;
        slowest = slowest.max(seen.slowest);
    }
    let count: i64 = sqlx::query_scalar("select count(*) from effect").fetch_one(&pool).await.unwrap();
    assert_eq!(usize::try_from(count).unwrap(), calls, "one effect per key");
    println!("helps again after {took:?}; {calls} calls twice, the slowest {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_killed_is_replaced_without_a_lost_call() {
    under_load(async |redis| {
        redis.master.kill();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_is_replaced_without_a_lost_call() {
    under_load(async |redis| redis.master.hang()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_relieved_is_replaced_without_a_lost_call() {
    under_load(async |redis| {
        redis.fail_over().await;
        eventually("the replica to be promoted", async || redis.replica.is_master().await.then_some(()))
            .await;
    })
    .await;
}

/// A name that leads to another server at every connection, as a service of Kubernetes does after a failover: to one
/// that answers like this first, or not at all, then to the Redis of the tests.
async fn moved_from(answer: &'static [u8]) -> SecretString {
    let mut target = redis::parse_redis_url(redis_url().expose_secret()).unwrap();
    let redis = format!("{}:{}", target.host_str().unwrap(), target.port().unwrap_or(6379));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    target.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    target.set_host(Some("127.0.0.1")).unwrap();
    tokio::spawn(async move {
        let (mut old, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut server = TcpStream::connect(&redis).await.unwrap();
            while let Ok((mut client, _)) = listener.accept().await {
                copy_bidirectional(&mut client, &mut server).await.ok();
                server = TcpStream::connect(&redis).await.unwrap();
            }
        });
        let mut asked = [0; 4096];
        while old.read(&mut asked).await.is_ok_and(|n| n > 0) {
            if old.write_all(answer).await.is_err() {
                break;
            }
        }
    });
    target.to_string().into()
}

#[tokio::test]
async fn a_server_that_is_no_master_any_more_is_left() {
    let answers = [
        b"".as_slice(),
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-ERR Error running script (call to f_0): @user_script:13: @user_script: 13: -READONLY You can't write \
          against a read only replica. \r\n",
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
    ];
    for answer in answers {
        let idempotency = Idempotency::connect(&moved_from(answer).await).unwrap();
        let took = until_it_helps(&idempotency).await;
        assert!(took < Duration::from_secs(3), "{:?}: {took:?}", String::from_utf8_lossy(answer));
    }
}
